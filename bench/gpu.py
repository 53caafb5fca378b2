"""Everything that needs a GPU: ``python -m bench.gpu``, or ``make gpu``.

Each kernel is checked first; nothing is timed behind a red check. Then the ops and whole sweeps at
the shapes of real models, random weights. ``--dry`` runs the same steps at tiny shapes on the CPU,
the kernels in Triton's interpreter: it shows that this script works and measures nothing.
"""

from __future__ import annotations

import csv
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from bench import report
from bench.report import Record

RESULTS = Path(__file__).parent / "results" / "gpu.csv"
# Seconds after which no further step is begun, so that all is done within 8 minutes.
LAST_START = 330.0


def main(
    dry: Annotated[bool, typer.Option(help="Tiny shapes on the CPU: measures nothing.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="CSV file to write; default: bench/results/gpu.csv.")
    ] = None,
) -> None:
    """Check every kernel, time ops and sweeps, and write one CSV file."""
    if not dry and not torch.cuda.is_available():
        typer.echo("error: no GPU here; --dry tries the script on the CPU", err=True)
        raise typer.Exit(2)
    device = "cpu" if dry else "cuda"
    if dry:  # both are read when the first kernel is imported or asked for
        os.environ |= {"TRITON_INTERPRET": "1", "NEGKERNEL_BACKEND": "triton"}
        output = output or Path("gpu-dry.csv")
    origin = report.provenance(device) | {"driver": driver(dry), "triton": triton_version()}
    path = output or RESULTS
    path.unlink(missing_ok=True)
    begun = time.monotonic()
    for name, step in steps(device, dry).items():
        if time.monotonic() - begun > LAST_START:
            append(path, name, [Record("left out", "", {}, "no time left")], origin)
            typer.echo(f"{name}: left out, no time left")
            continue
        try:
            records = step()
        except AssertionError as error:
            typer.echo(f"{name}: no speed to report: {error}", err=True)
            raise typer.Exit(1) from error
        append(path, name, records, origin)
        for group in same_measures(records):
            report.show(f"{name}{' (dry: not a measurement)' if dry else ''}", group, origin)
    typer.echo(f"{path} written after {time.monotonic() - begun:.0f} s")


def steps(device: str, dry: bool) -> dict[str, Callable[[], list[Record]]]:
    """Return the steps in order of importance: a run that is cut short has the first ones."""
    # Imported after the environment says how kernels run.
    from bench import gpu_models, kernels
    from bench.models import TINY
    from bench.registry import Settings

    settings = Settings(repeats=2 if dry else 10, device=device, quick=dry)
    sizes = {"neurons": 4, "shifts": 4} if dry else {"neurons": 1000, "shifts": 100}
    llamas = (
        {"tiny": TINY}
        if dry
        else {
            "Llama-2-7B": gpu_models.LLAMA_2_7B,
            "Llama-3.1-8B": gpu_models.LLAMA_3_1_8B,
        }
    )

    def sweep_of(name: str) -> Callable[[], list[Record]]:
        return lambda: gpu_models.model_records(
            name, llamas[name], **sizes, repeats=2 if dry else 3, device=device, quick=dry
        )

    return {
        "checks": lambda: checks(device, large=not dry),
        **{f"sweep {name}": sweep_of(name) for name in llamas},
        "kernels": lambda: kernels.run(settings),
    }


def checks(device: str, *, large: bool) -> list[Record]:
    """Check every kernel; `logprob` with a head in each dtype."""
    from bench.kernel_checks import check
    from bench.op_calls import NAMES

    records = []
    for op in NAMES:
        heads = [torch.float32]
        if op == "logprob":
            heads += [torch.bfloat16, torch.float16]
        for head in heads:
            used = check(op, head, device, large=large)
            records.append(Record(op, "triton", {"head": str(head), "of_budget": used}))
    return records


def append(path: Path, step: str, records: Sequence[Record], origin: dict[str, str]) -> None:
    """Append one line for each measure: steps measure different things."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([*origin, "step", "case", "contestant", "measure", "value", "note"])
        for record in records:
            for measure, value in (record.measures or {"": None}).items():
                what = [step, record.case, record.contestant, measure]
                shown = "" if value is None else value
                writer.writerow([*origin.values(), *what, shown, record.note])


def same_measures(records: Sequence[Record]) -> list[list[Record]]:
    """Split records into runs with the same columns, for a table each."""
    groups: list[list[Record]] = []
    for record in records:
        if groups and groups[-1][0].measures.keys() == record.measures.keys():
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def driver(dry: bool) -> str:
    """Version of the GPU's driver."""
    if dry:
        return ""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]


def triton_version() -> str:
    """Version of Triton."""
    from importlib.metadata import version

    return version("triton")


if __name__ == "__main__":
    typer.run(main)
