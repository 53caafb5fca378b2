"""Records of a run: a table on the screen, and rows of a CSV file that say where they come from."""

from __future__ import annotations

import csv
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers

import negkernel
from negkernel.ops import decisions

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Record:
    """One line of a benchmark: the same measures in every record of a benchmark.

    Attributes
    ----------
    case : str
        What was asked, for example "48 tokens".
    contestant : str
        Who answered.
    measures : dict
        Name of a measure, unit included, to its value; None where it does not apply.
    note : str
        What a reader must know, for example that a time is scaled from part of the work.
    """

    case: str
    contestant: str
    measures: dict[str, Value]
    note: str = ""


def provenance(device: str) -> dict[str, str]:
    """Machine, versions, kernels, commit and date of this run."""
    on_gpu = torch.device(device).type == "cuda"
    kernels = {
        op: next(name for name, why_not in backends.items() if why_not is None)
        for op, backends in decisions().items()
    }
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu(),
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name(device) if on_gpu else "",
        "negkernel": negkernel.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "kernels": " ".join(f"{op}={name}" for op, name in kernels.items()),
    }


def show(title: str, records: Sequence[Record], origin: dict[str, str]) -> None:
    """Print ``records`` as a table, with their origin below."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("case", no_wrap=True)
    table.add_column("contestant", no_wrap=True)
    for name in records[0].measures:
        table.add_column(name, justify="right", no_wrap=True)
    for i, record in enumerate(records):
        first = i == 0 or records[i - 1].case != record.case
        table.add_section() if first else None
        values = (_readable(value) for value in record.measures.values())
        table.add_row(record.case if first else "", record.contestant, *values)
    # Wide enough for every column: a pipe has no width, and a shortened number is none.
    needed = Console(width=1000).measure(table).maximum
    console = Console(width=max(needed, Console().width))
    console.print(table)
    for case, contestant, note in dict.fromkeys((r.case, r.contestant, r.note) for r in records):
        if note:
            console.print(f"  {case}, {contestant}: {note}", highlight=False)
    console.print("  " + ", ".join(f"{k} {v}" for k, v in origin.items() if v), highlight=False)


def append(path: Path, records: Sequence[Record], origin: dict[str, str]) -> None:
    """Append ``records`` to the CSV file at ``path``, made if need be.

    Raises
    ------
    ValueError
        The file's columns are not those of these records.
    """
    rows = [
        origin
        | {"case": record.case, "contestant": record.contestant}
        | {name: "" if value is None else value for name, value in record.measures.items()}
        | {"note": record.note}
        for record in records
    ]
    columns = list(rows[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists() or path.stat().st_size == 0
    if not new:
        with path.open(newline="") as file:
            found = next(csv.reader(file))
        if found != columns:
            raise ValueError(
                f"{path} has the columns {', '.join(found)}; expected {', '.join(columns)}: "
                "move it away or choose another --output"
            )
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _readable(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        # Correlations near 1 differ in the seventh digit.
        return f"{value:.7f}" if 0.99 < abs(value) < 1 else f"{value:.4g}"
    return str(value)


def _commit() -> str:
    """Short hash of the checkout, "+" behind it when files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode != 0
    return commit + ("+" if changed else "")


def _cpu() -> str:
    """Processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
