"""Command line of the benchmarks."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from bench import registry, report

Name = StrEnum("Name", {name: name for name in registry.BENCHMARKS})  # type: ignore[misc]
RESULTS = Path(__file__).parent / "results"


def main(
    benchmark: Annotated[
        Name,
        typer.Argument(
            help="; ".join(f"{name}: {what}" for name, what in registry.BENCHMARKS.items())
        ),
    ],
    quick: Annotated[bool, typer.Option(help="Tiny shapes: a check, not a measurement.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds, fresh prompts each.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all.")] = None,
    device: Annotated[str, typer.Option(help="Where the models live: cpu, cuda, cuda:1.")] = "cpu",
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="sweep: peak memory of so many rows instead of its speed."),
    ] = None,
    only: Annotated[str | None, typer.Option(help="peers: one of its workloads, W1 to W6.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV file to append to; default: bench/results/NAME.csv.")
    ] = None,
) -> None:
    """Compare the engine with its alternatives, print a table and append it to a CSV file.

    No speed is printed unless the contestants agree on their answers first.
    """
    if rows is not None and benchmark != "sweep":
        raise typer.BadParameter(f"--rows belongs to sweep, not to {benchmark}")
    if only is not None and benchmark != "peers":
        raise typer.BadParameter(f"--only belongs to peers, not to {benchmark}")
    # torch's own default is at times half of what the process may use.
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    settings = registry.Settings(
        repeats=2 if quick else repeats, device=device, quick=quick, rows=rows, only=only
    )
    try:
        records = registry.load(benchmark)(settings)
        name = f"{benchmark}-memory" if rows is not None else str(benchmark)
        origin = report.provenance(device)
        report.show(f"{name}{' (quick: not a measurement)' if quick else ''}", records, origin)
        report.append(output or RESULTS / f"{name}.csv", records, origin)
    except AssertionError as disagreement:
        typer.echo(f"no speed to report, the contestants disagree: {disagreement}", err=True)
        raise typer.Exit(1) from disagreement
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
