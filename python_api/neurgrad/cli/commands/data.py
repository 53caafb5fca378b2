"""``negkernel data report``: what the splits of MCEval8K share, clean and published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame
from neurgrad.cli.reading.asked import Manners, command
from neurgrad.cli.reading.outputs import check_csv
from neurgrad.cli.reading.task_options import RootOption
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import notes, step
from neurgrad.cli.showing.spreadsheets import write_csv
from neurgrad.cli.showing.terminal import console

# Columns of `neurgrad.mceval8k.report` and their headers; --output has all columns.
SHOWN = {
    "task": "task",
    "scheme": "splits",
    "train": "train",
    "test": "test",
    "record_test_in_train": "test\nin\ntrain",
    "record_valid_in_train": "valid\nin\ntrain",
    "record_valid_in_test": "valid\nin\ntest",
    "text_test_in_train": "test\ntexts\nin\ntrain",
    "id_test_in_train": "test\nids\nin\ntrain",
}

data = typer.Typer(help="Look at the benchmark's data.")


@data.callback()
def _commands() -> None:
    """Look at the benchmark's data."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Manners):
    """What ``data report`` can be asked."""

    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A task; repeatable; by default all.")
    ] = None
    root: RootOption = None
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write all columns as CSV."),
    ] = None


def report(asked: ReportOptions) -> None:
    """Count the records that stand in two splits of a task, for both schemes of splits."""
    import warnings

    if asked.output is not None:
        with blame("--output", asked.output):
            check_csv(asked.output)
    with step("reading the tasks"):
        from neurgrad.mceval8k import TASKS, find
        from neurgrad.mceval8k import report as overlaps

        with blame("--task"):
            names = [find(name).name for name in asked.task or TASKS]
        with blame("--root", asked.root), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            frame = overlaps(asked.root, names)
    for warning in told:
        notes.warning("%s", warning.message)
    if asked.output is not None:
        from negkernel.results.files import replace_file

        with blame("--output", asked.output):
            replace_file(asked.output, partial(write_csv, frame))
    if asked.json:
        print_json({"tasks": frame.to_dict(orient="records")})
        return
    from neurgrad.cli.showing.tables import grid

    columns = {head: frame[name].tolist() for name, head in SHOWN.items()}
    console().print(grid("Records in two splits", columns, left=2), soft_wrap=True)


data.command()(command(ReportOptions, report))
