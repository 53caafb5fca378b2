"""What ``probe``, and ``reproduce`` with ``--task``, do once their options are read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.asked import TaskOptions
from neurgrad.cli.reading.outputs import check_plot_folder
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import notes, step
from neurgrad.cli.showing.progress import progress
from neurgrad.cli.showing.terminal import console, tell

LEAST = 6  # training prompts, so that a sixth of them is left for validation


def study_tasks(asked: TaskOptions, names: Sequence[str]) -> None:
    """Check everything, then compute the artefacts and say where they are."""
    with step("reading the tasks"):
        from neurgrad.analysis.artefacts import produce
        from neurgrad.analysis.skills.artefacts import ARTEFACTS, chosen
        from neurgrad.analysis.skills.study import TaskStudy
        from neurgrad.cli.reading.models import load_engine

        with blame("NAME"):
            wanted = chosen(names, light=asked.light)
        with blame("--output", asked.output):
            check_plot_folder(asked.output)
        tasks = _checked_tasks(asked)
    with step(f"loading {asked.model}"):
        engine = load_engine(asked)
    if engine.task == "masked":
        refuse("--model", f"{asked.model!r} is a masked model; tasks are asked of causal ones")
    with (
        blame("--task", " ".join(tasks)),
        warnings.catch_warnings(),
        progress(None, 0, "prompts") as read,
    ):
        warnings.filterwarnings("ignore", "task .* lacks")  # said by `_checked_tasks`
        study = TaskStudy(
            engine,
            tasks,
            asked.output / "features",
            schemes=("clean", "published") if asked.splits == "both" else (asked.splits,),
            shots=tuple(asked.shots or [0]),
            limit=asked.limit,
            test_limit=asked.test_limit,
            root=asked.root,
            labels=asked.labels.split(",") if asked.labels else (),
            light=asked.light,
            report=read,
        )
        try:
            page = produce(study, {name: ARTEFACTS[name] for name in wanted}, asked.output)
        except KeyboardInterrupt as stop:
            if not asked.light:
                stop.add_note(f"and kept the features in {asked.output}: the same command goes on")
            raise
    if asked.json:
        print_json({"page": str(page), "artefacts": list(wanted)})
        return
    for name in ("table3", "table4", "table8", "table9"):
        if name in wanted:
            _print_accuracy(name, asked.output)
    tell(f"Wrote {page}")


def _checked_tasks(asked: TaskOptions) -> list[str]:
    from neurgrad.mceval8k import TASKS, find, load

    if not asked.task:
        refuse("--task", f"missing: expected all or some of {', '.join(TASKS)}")
    with blame("--task"):
        names = TASKS if "all" in asked.task else dict.fromkeys(asked.task)
        labels_of = {name: len(find(name).labels) for name in names}
    if asked.limit is not None and asked.limit < LEAST:
        refuse("--limit", f"{asked.limit}: expected at least {LEAST} training prompts")
    if wrong := [n for n in asked.shots or [] if n < -1]:
        refuse("--shots", f"{wrong[0]}: expected 0 or more, or -1 for one a label")
    for name, k in labels_of.items():
        if asked.labels and len(asked.labels.split(",")) != k:
            refuse("--labels", f"{asked.labels!r}: {name} needs {k} labels")
    with blame("--root", asked.root), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for name in labels_of:
            load(name, root=asked.root)
    for warning in told:
        notes.warning("%s", warning.message)
    return list(labels_of)


def _print_accuracy(name: str, folder: Path) -> None:
    import pandas as pd

    from neurgrad.analysis.skills.accuracy import side_by_side
    from neurgrad.analysis.skills.artefacts import ARTEFACTS
    from neurgrad.cli.showing.tables import grid

    shown = side_by_side(pd.read_csv(folder / f"{name}.csv"))
    columns = {
        str(head): [f"{v:.3f}" if isinstance(v, float) else str(v) for v in shown[head]]
        for head in shown.columns
    }
    left = sum(name in columns for name in ("task", "splits"))
    title = f"{name}: {ARTEFACTS[name].title}, on test prompts"
    console().print(grid(title, columns, left=left), soft_wrap=True)
