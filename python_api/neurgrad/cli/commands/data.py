"""``negkernel data report``: what the splits of MCEval8K share, clean and published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from neurgrad.cli.errors import blame

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

data = typer.Typer(help="Look at the benchmark's data.", no_args_is_help=True)


@data.callback()
def _commands() -> None:
    """Look at the benchmark's data."""


@data.command()
def report(
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A task; repeatable; by default all.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of MCEval8K; by default NEGKERNEL_MCEVAL8K, then the Hub."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all columns as CSV.")
    ] = None,
) -> None:
    """Count the records that stand in two splits of a task, for both schemes of splits."""
    import warnings

    from rich.console import Console
    from rich.table import Table

    from neurgrad.mceval8k import report as overlaps

    with blame("--task"), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        frame = overlaps(root, task)
    table = Table(
        title="Records in two splits", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for name, header in SHOWN.items():
        justify: Literal["left", "right"] = "left" if name in ("task", "scheme") else "right"
        table.add_column(header, justify=justify, no_wrap=True)
    for row in frame[list(SHOWN)].itertuples(index=False):
        table.add_row(*map(str, row))
    Console(highlight=False).print(table)
    for warning in told:
        typer.echo(f"negkernel: {warning.message}", err=True)
    if output is not None:
        frame.to_csv(output, index=False)
