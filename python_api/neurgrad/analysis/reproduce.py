"""Every table and figure on one model: CSV, PNG and a page that puts them beside the paper's.

A study that was interrupted takes up finished artefacts again, and finished prompts of the one it
was at: each is a file with a checksum, and a damaged or missing one is computed anew. Seeds stand
in the manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from negkernel.model.environment import computing_as, environment, identity
from negkernel.results.files import Writer, replace_file, write_text
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
    page,
)
from neurgrad.analysis.answered import Answered, answered
from neurgrad.analysis.cached_engine import CachedEngine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine, NegMap

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What all artefacts of one run share.

    Attributes
    ----------
    engine : negkernel.Engine
        One that keeps its answers.
    known : Answered
        The prompts.
    seed : int
    maps : Path
        Where the NEG of all neurons is kept while it is computed.
    map_prompts, range_prompts : int
        Prompts for the studies of every neuron, and of 1,000 neurons at long range.
    """

    engine: Engine
    known: Answered
    seed: int
    maps: Path
    map_prompts: int
    range_prompts: int

    @property
    def on(self) -> tuple[Engine, list[str], list[str]]:
        """Arguments that every study function starts with."""
        return self.engine, self.known.prompts, self.known.targets

    @cached_property
    def neg_map(self) -> NegMap:
        """NEG of every neuron for the first prompts."""
        few = slice(self.map_prompts)
        return self.engine.neg_map(
            self.known.prompts[few], self.known.targets[few], folder=self.maps
        )

    def by_range(self) -> pd.DataFrame:
        """Linearity for the first prompts, as many as the paper takes."""
        few = slice(self.range_prompts)
        prompts, targets = self.known.prompts[few], self.known.targets[few]
        return linearity.by_range(self.engine, prompts, targets, seed=self.seed)


@dataclass(frozen=True)
class Artefact:
    """One table or figure.

    Attributes
    ----------
    title : str
    compute : callable
        Study -> tidy frame.
    draw : callable
        Frame -> figure.
    """

    title: str
    compute: Callable[[Study], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


ARTEFACTS: dict[str, Artefact] = {
    "fig2": Artefact("Linearity against shift range", Study.by_range, linearity.draw),
    "table1": Artefact(
        "Linear neurons and polarity",
        lambda s: linearity.share(*s.on, seed=s.seed),
        linearity.draw_share,
    ),
    "table2": Artefact(
        "Estimators against NEG",
        lambda s: estimators.against_neg(*s.on, seed=s.seed),
        estimators.draw,
    ),
    "fig3": Artefact(
        "Enhancing the top neurons", lambda s: enhancement.top_neurons(*s.on), enhancement.draw
    ),
    "fig4": Artefact(
        "Cumulative contribution",
        lambda s: contribution.cumulative(s.neg_map),
        contribution.draw,
    ),
    "fig5": Artefact(
        "Many neurons at once",
        lambda s: many_neurons.together(*s.on, seed=s.seed),
        many_neurons.draw,
    ),
    "table5": Artefact(
        "Generality of linear neurons",
        lambda s: generality.linear_neurons(*s.on),
        generality.draw,
    ),
    "fig10": Artefact(
        "Activations and NEG",
        lambda s: distributions.histograms(s.neg_map),
        distributions.draw,
    ),
    "fig12": Artefact(
        "Activations and NEG by layer",
        lambda s: distributions.by_layer(s.neg_map),
        distributions.draw_layers,
    ),
}

# Figures that the same numbers serve.
ALIASES = {"fig11": "fig10", "fig13": "fig3", "fig14": "fig5"}


def reproduce(
    engine: Engine,
    prompts: Sequence[str],
    answers: Sequence[str],
    folder: str | Path,
    *,
    names: Sequence[str] = ("all",),
    seed: int = 0,
    limit: int | None = None,
    map_prompts: int = 10,
    range_prompts: int = 10,
    advance: Callable[[str], None] = lambda name: None,
) -> Path:
    """Compute artefacts and write ``NAME.csv``, ``NAME.png`` and ``index.html`` to ``folder``.

    Parameters
    ----------
    engine : negkernel.Engine
    prompts, answers : list of str
        Only prompts that the model answers correctly are used; the page tells how many.
    folder : path
        Made if need be. Artefacts finished for the same model, prompts and seed are kept.
    names : list of str
        Keys of :data:`ARTEFACTS` or :data:`ALIASES`, or "all".
    seed : int
        Of the random neurons.
    limit : int, optional
        Most prompts to use.
    map_prompts, range_prompts : int
        Prompts for figures of every neuron, and for the linearity at long range.
    advance : callable
        Told the name of each artefact when it is there.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        An unknown name, no prompt answered correctly, or a folder of another study.
    """
    wanted = chosen(names)
    folder = Path(folder)
    known = answered(engine, prompts, answers, limit=limit)
    log.log(logging.INFO if len(known) == known.asked else logging.WARNING, "%s", known)
    asked = {
        **identity(engine),
        "prompts": known.prompts,
        "targets": known.targets,
        "seed": seed,
        "map_prompts": map_prompts,
        "range_prompts": range_prompts,
    }
    here = environment(engine)
    with (
        at_work(folder, Manifest.of("study", asked, here, None), (".csv", ".png")) as ledger,
        computing_as(engine, ledger.manifest.environment),
        # What the prompts of unfinished artefacts gave; in one run CG, IG and LPI serve several.
        at_work(folder / "parts", Manifest.of("answers", asked, here, None)) as kept,
    ):
        asking, maps = CachedEngine(engine, kept), folder / "neg_map"
        study = Study(asking, known, seed, maps, map_prompts, range_prompts)

        def compute(name: str) -> dict[str, Writer]:
            frame = ARTEFACTS[name].compute(study)
            picture = ARTEFACTS[name].draw(frame)
            return {
                ".csv": partial(frame.to_csv, index=False),
                ".png": partial(picture.savefig, dpi=150),
            }

        for name in ledger.share(wanted, compute):
            advance(name)
        kept.discard()
        frames = {name: pd.read_csv(ledger.path(name)) for name in wanted}
    titles = {name: _title(name) for name in wanted}
    path = folder / "index.html"
    replace_file(path, write_text(page.render(repr(engine), str(known), seed, titles, frames)))
    return path


def chosen(names: Sequence[str]) -> list[str]:
    """Resolve names, aliases and "all" to keys of :data:`ARTEFACTS`, each once, in its order.

    Raises
    ------
    ValueError
        A name that is none of these.
    """
    wanted = set()
    for name in names:
        if name != "all" and name not in ARTEFACTS and name not in ALIASES:
            known = ", ".join(sorted([*ARTEFACTS, *ALIASES]))
            raise ValueError(f"{name!r} is not an artefact; expected all or one of {known}")
        wanted |= set(ARTEFACTS) if name == "all" else {ALIASES.get(name, name)}
    return [name for name in ARTEFACTS if name in wanted]


def _title(name: str) -> str:
    """Name an artefact with every table and figure of the paper that it is."""
    also = [alias for alias, own in ALIASES.items() if own == name]
    return f"{', '.join([name, *also])}: {ARTEFACTS[name].title}"
