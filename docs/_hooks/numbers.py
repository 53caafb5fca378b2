"""Fill pages from the CSV files of the benchmarks.

``<!-- tables of bench/results -->`` becomes a short table of every file: what was measured, on
what, against which goal. ``<!-- fidelity: a, b -->`` becomes the columns a and b of
``fidelity.csv``, of its newest run. ``<!-- every case of peers: a, b -->`` becomes a table for each
case of ``peers.csv``, of the newest run in which a contestant took part.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

MARK = "<!-- tables of bench/results -->"
CHOICE = re.compile(r"<!-- ([\w-]+): ([\w, ]+) -->")
BY_CASE = re.compile(r"<!-- every case of ([\w-]+): ([\w, ]+) -->")
NOTHING = "Not measured yet."
RESULTS = Path(__file__).parents[2] / "bench" / "results"
# Read first to last until the table is as wide as a page; the file has the rest.
WANTED = (
    "case",
    "contestant",
    "cpu_s",
    "p50_s",
    "p50_us",
    "seconds",
    "ratio",
    "rows_per_s",
    "peak_gb",
    "megabytes",
    "spared_mb",
    "correlation",
    "rows_a_neuron",
    "products",
    "of_ceiling",
    "goal",
    "reached",
    "error",
)
WIDEST = 7


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks on a page by tables; mkdocs calls this for every page."""
    if MARK in markdown:
        tables = [_summary(path) for path in sorted(RESULTS.glob("*.csv"))]
        markdown = markdown.replace(MARK, "\n\n".join(filter(None, tables)) or NOTHING)
    return CHOICE.sub(_chosen, BY_CASE.sub(_every_case, markdown))


def _summary(path: Path) -> str:
    rows = _read(path)
    if not rows:
        return ""
    filled = [name for name in WANTED if any(row.get(name) for row in rows)]
    columns = filled[:WIDEST] or list(rows[0])[:WIDEST]
    return f"## {path.stem}\n\n{_table(path, rows, columns)}"


def _chosen(mark: re.Match[str]) -> str:
    path, columns = RESULTS / f"{mark[1]}.csv", mark[2].split(", ")
    rows = _read(path) if path.exists() else []
    rows = [row for row in rows if row.get("date") == rows[-1].get("date")]
    if not rows or not set(columns) <= set(rows[0]):
        return NOTHING
    return _table(path, rows, columns)


def _every_case(mark: re.Match[str]) -> str:
    path, columns = RESULTS / f"{mark[1]}.csv", mark[2].split(", ")
    newest: dict[str, dict[str, dict[str, str]]] = {}
    rows = _read(path) if path.exists() else []
    if not rows or not set(columns) <= set(rows[0]):
        return NOTHING
    for row in rows:
        case = newest.setdefault(row["case"], {})
        if row.get("ratio") or row["contestant"] not in case:
            case[row["contestant"]] = row
    tables = (
        f"### {case}\n\n{_table(path, list(of_case.values()), columns)}"
        for case, of_case in sorted(newest.items())
    )
    return "\n\n".join(tables)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(path: Path, rows: list[dict[str, str]], columns: list[str]) -> str:
    cells = [[_readable(row[column]) for column in columns] for row in rows]
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_line, cells)]
    where = ", commit ".join(rows[0][name] for name in ("cpu", "commit") if rows[0].get(name))
    origin = f"`bench/results/{path.name}`" + (f": {where}." if where else ".")
    return "\n".join(lines) + f"\n\n{origin}"


def _readable(cell: str) -> str:
    """Shorten a number; correlations near 1 keep the digits in which they differ."""
    if cell in ("True", "False"):
        return "yes" if cell == "True" else "no"
    try:
        value = float(cell)
    except ValueError:
        return cell
    return f"{value:.6f}" if 0.99 < abs(value) < 1 else f"{value:.3g}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
