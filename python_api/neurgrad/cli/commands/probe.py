"""``negkernel probe``: skill-neuron probes on tasks of MCEval8K."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.reading.options import DeviceOption, DTypeOption, ModelOption
from neurgrad.cli.reading.task_options import (
    ARTEFACTS,
    LabelsOption,
    LightOption,
    RootOption,
    ShotsOption,
    SplitsOption,
    TaskOption,
)
from neurgrad.cli.running.task_study import TaskStudy

EPILOG = "Example: [bold]negkernel probe --task paws --model PATH --shots 2 --output skills[/]"


def probe(
    model: ModelOption,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help=f"{', '.join(ARTEFACTS)}, or all; by default table3."
        ),
    ] = None,
    task: TaskOption = None,
    shots: ShotsOption = None,
    splits: SplitsOption = "both",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Most training prompts; by default all.")
    ] = None,
    labels: LabelsOption = None,
    root: RootOption = None,
    light: LightOption = False,
    dtype: DTypeOption = "auto",
    device: DeviceOption = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Features, tables, figures and a page go there.")
    ] = Path("skills"),
) -> None:
    """Collect gradient features of tasks, fit every probe, and compare the two schemes of splits.

    Features are kept below the output folder; an interrupted run is taken up by the same command.
    """
    study = TaskStudy(
        model=model,
        dtype=dtype,
        device=device,
        tasks=task or [],
        shots=shots or [],
        splits=splits,
        limit=limit,
        labels=labels,
        root=root,
        light=light,
        output=output,
    )
    study.run(names or ["table3"])
