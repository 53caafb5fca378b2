"""Compute the paper's tables and figures of prompts on one model, resumably.

Finished tables and artefacts, and finished prompts of the one that was at work, are files with a
checksum: an interrupted study takes them up again, and computes what is damaged or missing anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from negkernel.model.environment import computing_as, environment, identity
from negkernel.results.files import replace_file, write_text
from negkernel.results.ledger import at_work
from negkernel.results.manifest import Manifest
from neurgrad.analysis import (
    contribution,
    distributions,
    enhancement,
    estimators,
    generality,
    linearity,
    many_neurons,
    precision,
)
from neurgrad.analysis.answered import answered
from neurgrad.analysis.artefacts import Artefact, chosen, produce
from neurgrad.analysis.cached_engine import CachedEngine
from neurgrad.analysis.page import origin
from neurgrad.analysis.paper import CITED
from neurgrad.analysis.study import PromptStudy, Settings

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.facts import Known

log = logging.getLogger(__name__)

ARTEFACTS: dict[str, Artefact] = {
    "fig2": Artefact(
        title="Linearity against shift range",
        compute=linearity.by_range,
        draw=linearity.draw,
        needs=["ranges"],
    ),
    "table1": Artefact(
        title="Linear neurons and polarity",
        compute=linearity.share,
        draw=linearity.draw_share,
        needs=["random"],
        cited=CITED["table1"],
    ),
    "table2": Artefact(
        title="Estimators against NEG",
        compute=estimators.against_neg,
        draw=estimators.draw,
        needs=["random", "estimates", "tops", "seconds"],
        cited=CITED["table2"],
    ),
    "fig3": Artefact(
        title="Enhancing the top neurons",
        compute=enhancement.top_neurons,
        draw=enhancement.draw,
        also=["fig13"],
        needs=["tops", "enhanced"],
    ),
    "fig4": Artefact(
        title="Cumulative contribution",
        compute=contribution.cumulative,
        draw=contribution.draw,
        needs=["every"],
    ),
    "fig5": Artefact(
        title="Many neurons at once",
        compute=many_neurons.by_count,
        draw=many_neurons.draw,
        also=["fig14"],
        needs=["together"],
    ),
    "steer": Artefact(
        title="Precision against intensity of steering",
        compute=precision.by_intensity,
        draw=precision.draw,
        needs=["steered"],
    ),
    "table5": Artefact(
        title="Generality of linear neurons",
        compute=generality.linear_neurons,
        draw=generality.draw,
        needs=["strongest"],
        cited=CITED["table5"],
    ),
    "fig10": Artefact(
        title="Activations and NEG",
        compute=distributions.histograms,
        draw=distributions.draw,
        also=["fig11"],
        needs=["every"],
    ),
    "fig12": Artefact(
        title="Activations and NEG by layer",
        compute=distributions.by_layer,
        draw=distributions.draw_layers,
        needs=["every"],
    ),
}


def reproduce(
    engine: Engine,
    prompts: Sequence[str],
    answers: Sequence[str],
    folder: str | Path,
    *,
    names: Sequence[str] = ("all",),
    limit: int | None = None,
    settings: Settings | None = None,
    advance: Mapping[str, Callable[[Any], object]] | None = None,
) -> Path:
    """Write artefacts of prompts, the tables that they summarise, and a page to ``folder``.

    Parameters
    ----------
    engine : negkernel.Engine
    prompts, answers : list of str
        Only prompts that the model answers correctly are used; the page tells how many.
    folder : path
        Made if need be. What was finished for the same model, prompts and settings is kept.
    names : list of str
        Keys of :data:`ARTEFACTS`, other names that they have in the paper, or "all".
    limit : int, optional
        Most prompts to use.
    settings : Settings, optional
    advance : mapping, optional
        ``"prompts"`` is called with how many more were looked at, ``"artefacts"`` with the name
        of each artefact when it is there.

    Returns
    -------
    Path
        The page. Beside it are ``NAME.csv``, ``NAME.png``, ``study.json`` and ``tables/*.parquet``.

    Raises
    ------
    ValueError
        An unknown name, no prompt answered correctly, or a folder of another study.
    """
    wanted = {name: ARTEFACTS[name] for name in chosen(names, ARTEFACTS)}
    folder, settings = Path(folder), settings or Settings()
    tell = {"prompts": lambda n: None, "artefacts": lambda name: None} | dict(advance or {})
    known = answered(
        engine, prompts, answers, limit=limit, advance=tell["prompts"], **settings.encoding
    )
    log.log(logging.INFO if len(known.rows) == known.asked else logging.WARNING, "%s", known)
    asked = {
        **identity(engine),
        "prompts": known.prompts,
        "targets": known.targets,
        **asdict(settings),
    }
    here = environment(engine)
    with ExitStack() as work:

        def room(where: Path, kind: str, *suffixes: str) -> Any:
            manifest = Manifest.of(kind, asked, here, None)
            return work.enter_context(at_work(where, manifest, suffixes))

        ledger = room(folder, "study", ".csv", ".png")
        tables = room(folder / "tables", "tables", ".parquet")
        # What the prompts of unfinished tables gave.
        kept = room(folder / "parts", "answers", ".safetensors")
        work.enter_context(computing_as(engine, ledger.manifest.environment))
        asking = CachedEngine(engine, kept)
        study = PromptStudy(asking, known, settings, tables, folder / "neg_map")
        page = produce(study, wanted, folder, ledger=ledger, advance=tell["artefacts"])
        kept.discard()
    _say(folder / "study.json", engine, known, settings)
    return page


def _say(path: Path, engine: Engine, known: Known, settings: Settings) -> None:
    """Write what was asked, of whom and when, and what of it was used."""
    counts = asdict(replace(known, rows=[])) | {"rows": known.rows}
    content = {"origin": origin(engine), "settings": asdict(settings), "prompts": counts}
    replace_file(path, write_text(json.dumps(content, indent=1) + "\n"))
