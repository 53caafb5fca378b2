"""How much of a task's held-out data stands in another split, clean and published side by side."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from neurgrad.mceval8k.load import Dataset, arrange
from neurgrad.mceval8k.record import Record, id_keys, whole_text
from neurgrad.mceval8k.repair import DROPPED, MENDED
from neurgrad.mceval8k.source import read
from neurgrad.mceval8k.task import Task
from neurgrad.mceval8k.tasks import TASKS, find

PAIRS = (("test", "train"), ("valid", "train"), ("valid", "test"))


def report(root: str | Path | None = None, tasks: Iterable[str] | None = None) -> pd.DataFrame:
    """Count what the splits of each task share.

    Parameters
    ----------
    root : path, optional
        As in `load`.
    tasks : iterable of str, optional
        Names of tasks; all 22 by default.

    Returns
    -------
    DataFrame
        One row per task and scheme. `train`, `valid`, `test`: records in each split. `unique`:
        different records over the three. `mended`, `dropped`: rows treated by the rules of
        `repair`. `missing`: absent files. `record_test_in_train` and so on: records of one split
        that stand in the other with all their fields, `text_...`: whose whole main text does,
        `id_...`: whose uuid or index does (the published xnli numbers each of its files anew, so
        there an index in two files is two different sentences).

    Warns
    -----
    UserWarning
        For a task that cannot be read; the others are reported.
    """
    rows, unread = [], []
    for task in [find(name) for name in tasks] if tasks is not None else TASKS.values():
        try:
            published = read(task, root)
        except ValueError as error:
            unread.append(error)
            continue
        rows += [
            _row(arrange(task, published, "published")),
            _row(arrange(task, published, "clean")),
        ]
    if not rows:
        raise ValueError(f"no task could be read: {unread[0]}")
    for why in unread:
        warnings.warn(f"left out of the report: {why}", stacklevel=2)
    return pd.DataFrame(rows)


def overlaps(data: Dataset) -> dict[str, int]:
    """Count the records of one split that stand in another: whole, by main text and by id."""
    cut = {"train": data.train, "valid": data.valid, "test": data.test}
    counted = {}
    for what in ("record", "text", "id"):
        keys = {split: [_keys(what, data.task, r) for r in cut[split]] for split in cut}
        known = {split: {key for found in keys[split] for key in found} for split in keys}
        for held, other in PAIRS:
            shared = sum(not known[other].isdisjoint(found) for found in keys[held])
            counted[f"{what}_{held}_in_{other}"] = shared
    return counted


def _keys(what: str, task: Task, record: Record) -> list[str]:
    if what == "record":
        return [record.content]
    return [whole_text(task, record)] if what == "text" else id_keys(task, record)


def _row(data: Dataset) -> dict[str, object]:
    everything = [record for split in (data.train, data.valid, data.test) for record in split]
    return {
        "genre": data.task.genre,
        "task": data.task.name,
        "scheme": data.splits,
        "train": len(data.train),
        "valid": len(data.valid),
        "test": len(data.test),
        "unique": len({record.content for record in everything}),
        "mended": sum(data.counts.get(rule, 0) for rule in MENDED),
        "dropped": sum(data.counts.get(rule, 0) for rule in DROPPED),
        "missing": len(data.missing),
        **overlaps(data),
    }
