"""Run the steps one after the other and write what each found."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.gpu.report import append, show
from bench.report import Record, provenance

RESULTS = Path(__file__).parents[1] / "results" / "gpu.csv"
SECONDS = 540.0  # of a whole run; a call of ten minutes has room for it


def main(arguments: Sequence[str] | None = None) -> int:
    """Check every kernel, time sweeps and ops, and write one CSV file.

    Returns
    -------
    int
        0, 1 where a step failed, or 2 where there is no GPU.
    """
    asked = _parser().parse_args(arguments)
    if asked.dry:  # both are read when the first kernel is imported or asked for
        os.environ |= {"TRITON_INTERPRET": "1", "NEGKERNEL_BACKEND": "triton"}
        asked.output = asked.output or Path("gpu-dry.csv")
    elif not torch.cuda.is_available():
        print("error: no GPU here; --dry tries the script on the CPU", file=sys.stderr)
        return 2
    path = asked.output or RESULTS
    path.unlink(missing_ok=True)
    failed = run(asked.dry, asked.only, path, asked.seconds)
    if failed:
        print(f"no speed to report of: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(dry: bool, only: Sequence[str], path: Path, seconds: float) -> list[str]:
    """Run the steps whose names contain one of ``only``, or all; return those that failed."""
    from bench.gpu.steps import ALWAYS, steps  # after the environment says how kernels run

    device = "cpu" if dry else "cuda"
    begun, failed = time.monotonic(), []
    for name, step in steps(device, dry).items():
        chosen = not only or name in ALWAYS or any(part in name for part in only)
        left = seconds - (time.monotonic() - begun)
        if not chosen:
            records = [Record("not asked for", "", {})]
        elif left < step.room:
            note = f"{left:.0f} s left, it may take {step.room:.0f}"
            records = [Record("left out", "", {}, note)]
        else:
            records = _tried(name, step.run, failed)
        # A kernel that failed its check has been replaced: say so in every line behind it.
        append(path, name, records, provenance(device))
        if chosen:
            show(f"{name}{' (dry: not a measurement)' if dry else ''}", records)
    print(f"{path} written after {time.monotonic() - begun:.0f} s")
    return failed


def _tried(name, run, failed: list[str]) -> list[Record]:  # type: ignore[no-untyped-def]
    """Records of a step; of one that raises, what it raised: the others may still do."""
    try:
        records: list[Record] = run()
    except Exception as error:
        traceback.print_exc()
        failed.append(name)
        return [Record("failed", "", {}, f"{type(error).__name__}: {error}".replace("\n", " "))]
    if any(record.measures.get("replaced_by") for record in records):
        failed.append(name)
    return records


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.gpu", description=main.__doc__)
    parser.add_argument("--dry", action="store_true", help="tiny shapes on the CPU: no measurement")
    parser.add_argument("--output", type=Path, help=f"CSV file to write; default: {RESULTS.name}")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="only steps whose names contain PART, behind facts and checks; may be repeated",
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="begin no step that may end later"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
