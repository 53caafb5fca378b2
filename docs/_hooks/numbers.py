"""Fill pages from the CSV files of the benchmarks.

``<!-- tables of bench/results -->`` becomes every file whole; ``<!-- fidelity: a, b -->`` the
columns a and b of ``fidelity.csv``.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

MARK = "<!-- tables of bench/results -->"
CHOICE = re.compile(r"<!-- (\w+): ([\w, ]+) -->")
NOTHING = "Not measured yet."
RESULTS = Path(__file__).parents[2] / "bench" / "results"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks on a page by tables; mkdocs calls this for every page."""
    if MARK in markdown:
        tables = [_table(path) for path in sorted(RESULTS.glob("*.csv"))]
        markdown = markdown.replace(MARK, "\n\n".join(tables) or NOTHING)
    return CHOICE.sub(_chosen, markdown)


def _table(path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return f"## {path.stem}\n\nFrom `bench/results/{path.name}`.\n\n" + "\n".join(lines)


def _chosen(mark: re.Match[str]) -> str:
    path, columns = RESULTS / f"{mark[1]}.csv", mark[2].split(", ")
    if not path.exists():
        return NOTHING
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(columns) <= set(rows[0]):
        return NOTHING
    cells = [[_readable(row[column]) for column in columns] for row in rows]
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_line, cells)]
    origin = f"`bench/results/{path.name}`: {rows[0]['cpu']}, commit {rows[0]['commit']}."
    return "\n".join(lines) + f"\n\n{origin}"


def _readable(cell: str) -> str:
    """Shorten a number; correlations near 1 keep the digits in which they differ."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return f"{value:.6f}" if 0.99 < abs(value) < 1 else f"{value:.3g}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
