"""Everything that needs a GPU: ``python -m bench.gpu``, or ``make gpu``.

Each kernel is checked first; nothing is timed behind a red check. Then whole sweeps at the shapes
of real models with random weights, the ladder of CUDA kernels, and single ops. ``--dry`` runs the
same steps at tiny shapes on the CPU, the kernels in Triton's interpreter: it shows that this script
works and measures nothing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from bench import report
from bench.gpu_report import append, show
from bench.report import Record

RESULTS = Path(__file__).parent / "results" / "gpu.csv"
SECONDS = 480.0


@dataclass(frozen=True)
class Step:
    """One part of the run, and the seconds that must be left for it to be begun."""

    run: Callable[[], list[Record]]
    room: float = 45.0


def main(
    dry: Annotated[bool, typer.Option(help="Tiny shapes on the CPU: measures nothing.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="CSV file to write; default: bench/results/gpu.csv.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Run only the steps whose names contain this, and the checks.")
    ] = "",
) -> None:
    """Check every kernel, time sweeps and ops, and write one CSV file."""
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
    begun, failed = time.monotonic(), []
    for name, step in steps(device, dry).items():
        if only not in name and name != "checks":
            continue
        left = SECONDS - (time.monotonic() - begun)
        if left < step.room:
            records = [
                Record("left out", "", {}, f"{left:.0f} s left, it may take {step.room:.0f}")
            ]
        else:
            try:
                records = step.run()
            except (AssertionError, RuntimeError) as error:  # the other steps may still do
                failed.append(name)
                records = [Record("failed", "", {}, f"{type(error).__name__}: {error}")]
        append(path, name, records, origin)
        show(f"{name}{' (dry: not a measurement)' if dry else ''}", records)
        if failed == ["checks"]:
            break
    typer.echo(f"{path} written after {time.monotonic() - begun:.0f} s")
    if failed:
        typer.echo(f"no speed to report of: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def steps(device: str, dry: bool) -> dict[str, Step]:
    """Return the steps in order of importance: a run that is cut short has the first ones."""
    # Imported after the environment says how kernels run.
    from bench import gpu_models, kernels, ladder, masked
    from bench.gpu_checks import checks
    from bench.gpu_models import Subject
    from bench.models import Shape
    from bench.registry import Settings

    settings = Settings(repeats=2 if dry else 5, device=device, quick=dry)
    if dry:
        shape = Shape(hidden=32, layers=2, heads=2, kv_heads=1, inner=16, vocabulary=100)
        sizes = {"tokens": 5, "neurons": 4, "shifts": 4, "prompts": 2, "repeats": 2}
        llamas = [Subject("tiny", shape, device, **sizes, quick=True)]
    else:
        llamas = [
            Subject("Llama-2-7B", gpu_models.LLAMA_2_7B, device),
            Subject("Llama-3.1-8B", gpu_models.LLAMA_3_1_8B, device),
        ]
    first, last = llamas[0], llamas[-1]

    def then_release(work: Callable[[Subject], list[Record]], one: Subject) -> list[Record]:
        try:
            return work(one)
        finally:
            one.release()

    plan = {
        "checks": Step(lambda: checks(device, large=not dry), room=0.0),
        f"sweep {first.name}": Step(lambda: gpu_models.sweep(first)),
        f"gradients {first.name}": Step(lambda: gpu_models.gradients(first), room=15.0),
        f"neg_map {first.name}": Step(lambda: gpu_models.neg_map(first)),
        f"integrated {first.name}": Step(
            lambda: then_release(gpu_models.integrated, first), room=15.0
        ),
        "ladder": Step(lambda: ladder.run(device, quick=dry)),
    }
    if not dry:
        plan |= {
            f"sweep {last.name}": Step(lambda: gpu_models.sweep(last)),
            f"gradients {last.name}": Step(
                lambda: then_release(gpu_models.gradients, last), room=15.0
            ),
            "masked BERT-base": Step(lambda: masked.run(settings), room=30.0),
        }
    return plan | {"kernels": Step(lambda: kernels.run(settings), room=100.0)}


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
