"""The options of studies of MCEval8K's tasks, which ``probe`` and ``reproduce`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

SplitsChoice = Literal["both", "clean", "published"]

_TASKS = "Tasks of MCEval8K"

TaskOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task", metavar="NAME", help="A task, or all; repeatable.", rich_help_panel=_TASKS
    ),
]
ShotsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--shots",
        metavar="N",
        help="Demonstrations; repeatable; -1: one a label. By default none.",
        rich_help_panel=_TASKS,
    ),
]
SplitsOption = Annotated[
    SplitsChoice,
    typer.Option("--splits", help="Of the data; the published ones leak.", rich_help_panel=_TASKS),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", help="Most prompts (of tasks: training prompts); by default all."
    ),
]
TestLimitOption = Annotated[
    int | None,
    typer.Option(
        "--test-limit",
        metavar="N",
        help="Most test prompts, whatever --limit is; by default all.",
        rich_help_panel=_TASKS,
        min=1,
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="A,B,...",
        help="Answers to ask for where the tokenizer splits the task's own.",
        rich_help_panel=_TASKS,
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Folder of MCEval8K; by default NEGKERNEL_MCEVAL8K, then the Hub.",
        rich_help_panel=_TASKS,
    ),
]
LightOption = Annotated[
    bool,
    typer.Option(
        "--light",
        help="Keep no features: read the model twice; tables without Act and Tree.",
        rich_help_panel=_TASKS,
    ),
]
