"""Render the page of a study: what was asked of which model, its tables and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

SHOWN = 40  # rows of a table that is shown unfolded


@dataclass(frozen=True)
class Section:
    """One artefact on the page.

    Attributes
    ----------
    name, title : str
    frame : DataFrame
    cited : mapping of str to DataFrame
        What the paper reports, by what it is.
    """

    name: str
    title: str
    frame: pd.DataFrame
    cited: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def render(
    title: str, facts: Mapping[str, Any], remarks: Sequence[str], sections: Sequence[Section]
) -> str:
    """Return the page as HTML; figures are referred to as ``NAME.png`` beside it."""
    from jinja2 import Environment, PackageLoader

    page = Environment(loader=PackageLoader("neurgrad.analysis", "."), autoescape=True)
    return page.get_template("page.html.j2").render(
        title=title,
        facts=facts,
        remarks=remarks,
        shown=SHOWN,
        sections=[
            {
                "name": one.name,
                "title": one.title,
                "rows": len(one.frame),
                "table": _table(one.frame),
                "cited": {what: _table(frame) for what, frame in one.cited.items()},
            }
            for one in sections
        ],
    )


def origin(engine: Any) -> dict[str, str]:
    """Return what a reader wants to know of where numbers come from."""
    from negkernel.model.environment import environment, identity

    here = environment(engine)
    versions = (f"{name} {here[name]}" for name in ("negkernel", "torch", "transformers"))
    name = str(engine.model.config.name_or_path) or "unnamed"
    name = Path(name).name if Path(name).is_absolute() else name  # where it lies says nothing
    return {
        "Model": f"{name}: {engine!r}",
        "Weights": f"SHA-256 {identity(engine)['weights']}",
        "Date": date.today().isoformat(),
        "Versions": ", ".join(versions),
        "Device": here["device"],
    }


def _table(frame: pd.DataFrame) -> str:
    return str(frame.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep=""))
