"""The paper's skill tables and figures for some tasks: CSV, PNG and a page.

Every artefact is computed for both schemes of splits and shows them side by side, so that what the
leak of the published ones does to each probe is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

import pandas as pd

from negkernel.results.files import replace_file, write_text
from neurgrad.analysis.page import STYLE
from neurgrad.analysis.skills.artefacts import ARTEFACTS, Artefact, chosen
from neurgrad.analysis.skills.study import Study
from neurgrad.mceval8k import find

SHOWN = 40  # rows of a table that the page shows unfolded


def reproduce(
    study: Study,
    names: Sequence[str],
    folder: str | Path,
    *,
    advance: Callable[[str], object] = lambda name: None,
) -> Path:
    """Compute artefacts and write ``NAME.csv``, ``NAME.png`` and ``index.html``.

    Parameters
    ----------
    names : list of str
        Keys of :data:`~neurgrad.analysis.skills.artefacts.ARTEFACTS`, or "all" (without fig7,
        which is about paws alone).
    advance : callable
        Told the name of each artefact when it is there.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        An unknown name or task, or what :func:`neurgrad.features.collect` refuses.
    """
    wanted = chosen(names, light=study.light)
    papers = [find(task).paper for task in study.tasks]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in wanted:
        artefact = ARTEFACTS[name]
        frame = artefact.compute(study)
        replace_file(folder / f"{name}.csv", partial(frame.to_csv, index=False))
        replace_file(folder / f"{name}.png", partial(artefact.draw(frame).savefig, dpi=150))
        sections.append(_section(name, artefact, side_by_side(frame, artefact)))
        advance(name)
    page = folder / "index.html"
    text = _page(repr(study.engine), papers, sections)
    replace_file(page, write_text(text))
    return page


def side_by_side(frame: pd.DataFrame, artefact: Artefact) -> pd.DataFrame:
    """Return the artefact's values with a column for each scheme of splits, in the frame's order.

    Where the schemes do not have the same rows (sizes, nodes of a tree) a cell stays empty.
    """
    keys, values = list(artefact.keys), list(artefact.values)
    wide = frame.pivot(index=keys, columns="splits", values=values)
    wide = wide.reindex(pd.MultiIndex.from_frame(frame[keys].drop_duplicates()))
    wide.columns = wide.columns.map(", ".join)
    return wide.reset_index()


def _section(name: str, artefact: Artefact, table: pd.DataFrame) -> str:
    shown = table.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
    if len(table) > SHOWN:
        shown = f"<details><summary>{len(table)} rows</summary>{shown}</details>"
    return "\n".join(
        [
            f"<section><h2>{name}: {escape(artefact.title)}</h2>",
            f"<img src='{name}.png' alt='{escape(artefact.title)}'>",
            shown,
            f"<p><a href='{name}.csv'>{name}.csv</a></p>",
            "</section>",
        ]
    )


def _page(engine: str, papers: Sequence[str], sections: Sequence[str]) -> str:
    return "\n".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'>",
            f"<title>Skill neurons</title><style>{STYLE}</style>",
            f"<h1>Skill neurons</h1><p>{escape(engine)}</p><p>Tasks: {', '.join(papers)}.</p>",
            "<p>The published splits of most tasks leak: test or validation rows stand in train, "
            "and a forest of unlimited depth knows its training rows by heart. Accuracies on the "
            "clean splits are the ones that generalise.</p>",
            *sections,
            "",
        ]
    )
