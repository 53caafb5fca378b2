"""``negkernel data report``: what the splits of MCEval8K share, clean and published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame

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

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from neurgrad.mceval8k import report as overlaps

    with blame("--task"), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        frame = overlaps(root, task)
    table = Table(title="Records in two splits", title_justify="left", box=box.SIMPLE_HEAD)
    columns = ["task", "splits", "train", "valid", "test", "unique", "mended", "dropped"]
    shared = [name for name in frame.columns if name.startswith(("record_", "text_", "id_"))]
    for name in [*columns, *shared]:
        table.add_column(name.replace("_", " "), justify="left" if name == "task" else "right")
    for row in frame[[*columns, *shared]].itertuples(index=False):
        table.add_row(*("" if value != value else str(value) for value in row))
    Console(highlight=False, width=None if output is None else 200).print(table)
    for warning in told:
        typer.echo(f"negkernel: {warning.message}", err=True)
    if output is not None:
        frame.to_csv(output, index=False)
