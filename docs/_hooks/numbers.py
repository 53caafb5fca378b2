"""Fill the numbers page from the CSV files of the benchmarks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

MARK = "<!-- tables of bench/results -->"
RESULTS = Path(__file__).parents[2] / "bench" / "results"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark on a page by one table a file; mkdocs calls this for every page."""
    if MARK not in markdown:
        return markdown
    tables = [_table(path) for path in sorted(RESULTS.glob("*.csv"))]
    return markdown.replace(MARK, "\n\n".join(tables) or "Not measured yet.")


def _table(path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return f"## {path.stem}\n\nFrom `bench/results/{path.name}`.\n\n" + "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
