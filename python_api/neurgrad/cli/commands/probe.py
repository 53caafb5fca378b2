"""``negkernel probe``: skill-neuron probes on tasks of MCEval8K."""

from __future__ import annotations

from neurgrad.cli.reading.asked import TaskOptions
from neurgrad.cli.running.task_study import study_tasks

EPILOG = "Example: [bold]negkernel probe --task paws --model PATH --shots 2 --output skills[/]"


def probe(asked: TaskOptions) -> None:
    """Collect gradient features of tasks, fit every probe, and compare the two schemes of splits.

    Features are kept below the output folder; an interrupted run is taken up by the same command.
    """
    study_tasks(asked, asked.names or ["table3"])
