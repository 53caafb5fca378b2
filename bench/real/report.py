"""Write ``docs/real.md`` and its pictures from what the steps kept; nothing is computed here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context

from bench.real.findings import probes, samples, skills
from bench.real.steps import Size, Step
from bench.report import provenance
from neurgrad.analysis import ARTEFACTS
from neurgrad.analysis.paper import MAE, TABLE1, TABLE2
from neurgrad.analysis.remarks import shown

DRAWN = ("fig2", "fig3", "fig4", "fig5", "fig10", "fig12")
# Text stays text, and the same study gives the same bytes.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "negkernel"}


def write(made: Sequence[Step], size: Size, tasks: Sequence[str], docs: Path) -> None:
    """Write the page of the steps that are done."""
    folder = made[0].folder
    pictures = docs / "real"
    pictures.mkdir(parents=True, exist_ok=True)
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page.filters["table"] = _table
    usual = vars(Size())
    smollm2 = _study(folder / "smollm2-many") | _study(folder / "smollm2-maps")
    smollm2 |= _study(folder / "smollm2")
    accuracies = probes(folder / "probes", tasks)
    text = page.get_template("page.md.j2").render(
        missing=[step.name for step in made if not step.cost["done"]],
        changed={name: value for name, value in vars(size).items() if value != usual[name]},
        done={step.name: step.cost for step in made if step.cost["done"]},
        here=provenance("cpu"),
        smollm2=smollm2,
        antiberty=_study(folder / "antiberty"),
        lpi=_study(folder / "smollm2-lpi"),
        counts=_read(folder / "smollm2-known-counts.csv"),
        samples=samples(smollm2.get("samples")),
        probes=accuracies,
        skills=skills(accuracies),
        paper={"shares": TABLE1, "r": TABLE2, "mae": MAE},
        drawn=_draw(smollm2, pictures),
        ci=shown,
    )
    (docs / "real.md").write_text(text, encoding="utf-8")


def _study(folder: Path) -> dict:
    """Tables of one folder by name, and what it says of itself."""
    found: dict = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
    said = folder / "study.json"
    return found | {"said": json.loads(said.read_text()) if said.exists() else None}


def _read(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path) if path.exists() else None


def _draw(study: dict, pictures: Path) -> dict[str, str]:
    """Draw the figures that are there, and return their titles."""
    drawn = {}
    with rc_context(STYLE):
        for name in (name for name in DRAWN if name in study):
            figure = ARTEFACTS[name].draw(study[name])
            figure.savefig(pictures / f"{name}.svg", metadata={"Date": None})
            drawn[name] = ARTEFACTS[name].title
    return drawn


def _table(frame: pd.DataFrame) -> str:
    """Write a frame as a table of Markdown."""
    head = [str(name) for name in frame]
    rows = [head, ["---"] * len(head)]
    rows += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3g}"
    return str(value).replace("|", "\\|")
