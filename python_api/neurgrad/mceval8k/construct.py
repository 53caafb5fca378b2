"""A task of one's own, made the way MCEval8K was made (paper, appendix F)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurgrad.mceval8k.draw import unit
from neurgrad.mceval8k.load import Dataset
from neurgrad.mceval8k.options import OptionRule
from neurgrad.mceval8k.record import Record, Split
from neurgrad.mceval8k.repair import mend, sift
from neurgrad.mceval8k.resplit import resplit
from neurgrad.mceval8k.source import write
from neurgrad.mceval8k.task import Task


def construct(
    task: Task,
    rows: Iterable[Mapping[str, Any]],
    rule: OptionRule | None = None,
    *,
    size: int | None = 8000,
    seed: int = 0,
) -> Dataset:
    """Make a data set with clean splits from raw rows.

    Parameters
    ----------
    task : Task
        What is asked; give it an `instruction`.
    rows : iterable of mapping
        Raw rows. With a rule they hold what the rule reads, otherwise the task's fields, the label
        among them.
    rule : OptionRule, optional
        How options are made: `FrequencyOptions`, `YearOptions` or `GivenOptions`.
    size : int, optional
        Upper bound of the number of records; None keeps all. The classes get equal numbers, in
        every language, as far as the rows allow.
    seed : int
        Seed of every draw.

    Returns
    -------
    Dataset
        The records, unique, balanced and split 6:1:1, fit for `prompts` and `save`.

    Raises
    ------
    ValueError
        If a field is missing, a label is unknown or a rule lacks wrong options.
    """
    raw = list(rows)
    made = rule.apply(task, raw, seed) if rule else raw
    for i, row in enumerate(made):
        if absent := [name for name in task.fields if name not in row]:
            raise ValueError(
                f"row {i} of task {task.name!r} has no field {absent[0]!r}; expected {task.fields}"
            )
    counts: Counter[str] = Counter()
    shown = [{name: row[name] for name in task.fields} for row in made]
    pool = sift(task, mend(task, "raw", shown, counts), counts)
    if size is not None:
        pool = balanced(task, pool, size, seed)
    cut = {split: Split(records) for split, records in resplit(task, pool, seed).items()}
    used = {rule_name: n for rule_name, n in counts.items() if n}
    return Dataset(task, "clean", cut["train"], cut["valid"], cut["test"], used)


def save(data: Dataset, root: str | Path) -> Path:
    """Write a data set in MCEval8K's layout, to be read by ``load(task, "published", root)``."""
    splits = {"train": data.train, "valid": data.valid, "test": data.test}
    rows = {name: [record.fields for record in split] for name, split in splits.items()}
    return write(data.task, rows, root)


def balanced(task: Task, records: Iterable[Record], size: int, seed: int) -> list[Record]:
    """Draw up to `size` records, the same number of each label in each language.

    Records that share an id are drawn together.
    """
    units: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        key = tuple(record.fields[name] for name in task.ids) or (record.content,)
        units.setdefault(key, []).append(record)
    strata: dict[tuple[str, int], list[list[Record]]] = {}
    for key in sorted(units, key=lambda key: (unit(seed, task.name, *key), key)):
        first = units[key][0]
        strata.setdefault(("" if task.ids else first.lang, first.label), []).append(units[key])
    largest = max((len(together) for together in units.values()), default=1)
    quota = size // (len(strata) * largest or 1)
    quota = min([quota, *map(len, strata.values())])
    return [
        record for found in strata.values() for together in found[:quota] for record in together
    ]
