"""Write what a GPU run found: one line for each measure, with its goal where it has one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bench.report import Record, Value

# Of the steps at Llama-2-7B's shape: least and greatest acceptable values.
SUBJECT = "Llama-2-7B"
AT_LEAST = {"of_gemm": 0.75, "over_full": 90.0, "correlation": 0.999}
AT_MOST = {"scratch_gb": 6.0, "gradients_over_forward": 1.2, "map_s": 15.0, "integrated_s": 1.0}
COLUMNS = ("step", "case", "contestant", "measure", "value", "goal", "reached", "note")


def lines(step: str, records: Sequence[Record]) -> list[dict[str, str]]:
    """Return the lines of one step, by column."""
    found = []
    for record in records:
        measures: dict[str, Value] = dict(record.measures) or {"": None}
        # Benchmarks of ops bring a goal of their own, the least ratio.
        own = measures.pop("goal", None), measures.pop("reached", None)
        for measure, value in measures.items():
            goal, reached = judged(measure, value) if SUBJECT in step else ("", "")
            if measure == "ratio" and own[0] is not None:
                goal, reached = f">= {_text(own[0])}", "yes" if own[1] else "NO"
            what = (step, record.case, record.contestant, measure, _text(value), goal, reached)
            found.append(dict(zip(COLUMNS, (*what, record.note), strict=True)))
    return found


def judged(measure: str, value: Value) -> tuple[str, str]:
    """Return the goal of a measure and whether it is reached, both empty without a goal."""
    if measure in AT_LEAST:
        goal = AT_LEAST[measure]
        return f">= {goal:g}", "yes" if isinstance(value, float) and value >= goal else "NO"
    if measure in AT_MOST:
        goal = AT_MOST[measure]
        return f"<= {goal:g}", "yes" if isinstance(value, float) and value <= goal else "NO"
    return "", ""


def append(path: Path, step: str, records: Sequence[Record], origin: dict[str, str]) -> None:
    """Append a step's lines at once, so that a run that is killed keeps them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*origin, *COLUMNS], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(origin | line for line in lines(step, records))


def show(title: str, records: Sequence[Record]) -> None:
    """Print a step's lines in columns; nothing but the standard library is needed."""
    shown, before = [tuple(COLUMNS[1:-1])], None
    for line in lines(title, records):
        who = line["case"], line["contestant"]
        shown.append(
            (*(who if who != before else ("", "")), *(line[name] for name in COLUMNS[3:-1]))
        )
        before = who
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    print(f"\n{title}")
    for row in shown:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {'  '.join(cells).rstrip()}")
    for note in dict.fromkeys(record.note for record in records if record.note):
        print(f"  {note}", flush=True)


def _text(value: Value) -> str:
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)
