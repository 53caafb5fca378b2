"""``negkernel probe``: skill-neuron probes on tasks of MCEval8K."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.options import DeviceOption, DTypeOption, ModelOption

EPILOG = "Example: [bold]negkernel probe --task paws --model PATH --shots 2 --output skills[/]"


def probe(
    model: ModelOption,
    task: Annotated[
        list[str], typer.Option(metavar="NAME", help="A task; repeatable.", show_default=False)
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="table3, fig6, ... or all."),
    ] = None,
    shots: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", help="Demonstrations; repeatable; -1: one a label. By default none."
        ),
    ] = None,
    splits: Annotated[
        Literal["both", "clean", "published"],
        typer.Option(help="Of the data; the published ones leak."),
    ] = "both",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Most training prompts.", min=6)
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="Answers to ask for where the tokenizer splits the task's own."
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of MCEval8K; by default NEGKERNEL_MCEVAL8K, then the Hub."
        ),
    ] = None,
    dtype: DTypeOption = "auto",
    device: DeviceOption = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Features, tables, figures and a page go there.")
    ] = Path("skills"),
) -> None:
    """Collect gradient features of tasks, fit every probe, and compare the two schemes of splits.

    Features are kept below the output folder; an interrupted run is taken up by the same command.
    """
    from neurgrad.analysis.skills.reproduce import Study, chosen, reproduce
    from neurgrad.cli.messages import messages
    from neurgrad.cli.models import load_engine
    from neurgrad.mceval8k import find, load

    with blame("NAME"):
        wanted = chosen(names or ["table3"])
    with blame("--task"):
        labels_of = {name: len(find(name).labels) for name in task}
    wrong = [n for n in shots or [] if n < -1]
    if wrong:
        refuse("--shots", f"{wrong[0]}: expected 0 or more, or -1 for one a label")
    for name, k in labels_of.items():
        if labels and len(labels.split(",")) != k:
            refuse("--labels", f"{labels!r}: {name} needs {k} labels")
    with blame("--root", root):
        for name in labels_of:
            load(name, root=root)
    engine = load_engine(model, dtype, device, None)
    if engine.task == "masked":
        refuse("--model", f"{model!r} is a masked model; tasks are asked of causal ones")
    with messages():
        study = Study(
            engine,
            list(labels_of),
            output / "features",
            schemes=("clean", "published") if splits == "both" else (splits,),
            shots=tuple(shots or [0]),
            limit=limit,
            root=root,
            labels=labels.split(",") if labels else (),
            report=_Count(),
        )
        with blame("--task", " ".join(task)):
            page = reproduce(study, wanted, output)
    if "table3" in wanted:
        _print_accuracy(output / "table3.csv")
    print(f"Wrote {page}")


class _Count:
    """Tell how many prompts were read, on one line of a terminal."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, n: int) -> None:
        import sys

        self.done += n
        if sys.stderr.isatty():
            typer.echo(f"\rnegkernel: {self.done:,} prompts read", err=True, nl=False)


def _print_accuracy(path: Path) -> None:
    import pandas as pd
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from neurgrad.analysis.skills.accuracy import side_by_side

    shown = side_by_side(pd.read_csv(path))
    table = Table(title="Test accuracy", title_justify="left", box=box.SIMPLE_HEAD)
    for name in shown.columns:
        table.add_column(str(name), justify="left" if name in ("task", "splits") else "right")
    for row in shown.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    Console(highlight=False).print(table)
