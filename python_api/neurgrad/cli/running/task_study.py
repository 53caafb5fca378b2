"""What ``probe``, and ``reproduce`` with ``--task``, do once their options are read."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.task_options import SplitsChoice

LEAST = 6  # training prompts, so that a sixth of them is left for validation


@dataclass(frozen=True)
class TaskStudy:
    """The options, as given.

    Attributes
    ----------
    model, dtype, device, tasks, shots, splits, limit, labels, root, light, output
        See :mod:`neurgrad.cli.reading.task_options`.
    """

    model: str
    dtype: str
    device: str | None
    tasks: Sequence[str]
    shots: Sequence[int]
    splits: SplitsChoice
    limit: int | None
    labels: str | None
    root: Path | None
    light: bool
    output: Path

    def run(self, names: Sequence[str]) -> None:
        """Check everything, then compute the artefacts and say where they are."""
        from neurgrad.analysis.skills import Study, reproduce
        from neurgrad.analysis.skills.artefacts import chosen
        from neurgrad.cli.reading.models import load_engine
        from neurgrad.cli.showing.messages import messages

        with blame("NAME"):
            wanted = chosen(names, light=self.light)
        tasks = self._checked_tasks()
        engine = load_engine(self.model, self.dtype, self.device)
        if engine.task == "masked":
            refuse("--model", f"{self.model!r} is a masked model; tasks are asked of causal ones")
        with messages(), blame("--task", " ".join(tasks)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "task .* lacks")  # said by `_checked_tasks`
            study = Study(
                engine,
                tasks,
                self.output / "features",
                schemes=("clean", "published") if self.splits == "both" else (self.splits,),
                shots=tuple(self.shots or [0]),
                limit=self.limit,
                root=self.root,
                labels=self.labels.split(",") if self.labels else (),
                light=self.light,
                report=_Count(),
            )
            page = reproduce(study, wanted, self.output)
        for name in ("table3", "table4", "table8", "table9"):
            if name in wanted:
                _print_accuracy(name, self.output)
        print(f"Wrote {page}")

    def _checked_tasks(self) -> list[str]:
        from neurgrad.mceval8k import TASKS, find, load

        if not self.tasks:
            refuse("--task", f"missing: expected all or some of {', '.join(TASKS)}")
        with blame("--task"):
            names = TASKS if "all" in self.tasks else dict.fromkeys(self.tasks)
            labels_of = {name: len(find(name).labels) for name in names}
        if self.limit is not None and self.limit < LEAST:
            refuse("--limit", f"{self.limit}: expected at least {LEAST} training prompts")
        if wrong := [n for n in self.shots if n < -1]:
            refuse("--shots", f"{wrong[0]}: expected 0 or more, or -1 for one a label")
        for name, k in labels_of.items():
            if self.labels and len(self.labels.split(",")) != k:
                refuse("--labels", f"{self.labels!r}: {name} needs {k} labels")
        with blame("--root", self.root), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for name in labels_of:
                load(name, root=self.root)
        for warning in told:
            typer.echo(f"negkernel: {warning.message}", err=True)
        return list(labels_of)


class _Count:
    """Tell how many prompts were read, on one line of a terminal."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, n: int) -> None:
        self.done += n
        if sys.stderr.isatty():
            typer.echo(f"\rnegkernel: {self.done:,} prompts read", err=True, nl=False)


def _print_accuracy(name: str, folder: Path) -> None:
    import pandas as pd
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from neurgrad.analysis.skills.accuracy import side_by_side
    from neurgrad.analysis.skills.artefacts import ARTEFACTS

    shown = side_by_side(pd.read_csv(folder / f"{name}.csv"))
    title = f"{name}: {ARTEFACTS[name].title}, on test prompts"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in shown.columns:
        left = column in ("task", "splits")
        table.add_column(str(column), justify="left" if left else "right")
    for row in shown.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    Console(highlight=False).print(table)
