"""Splits without leaks: records that share a text or an id stay together.

The published files leak: where one pool was cut in three, the held-out rows were taken from the
start of the same shuffle as the train rows, so that in eight tasks the test set lies inside train.
Here the unique records are cut again, 6:1:1 as the published sizes are, stratified by label and
language. A record's main texts and its ids tie it to others, its options and target words do not:
the four entity types are options of every record of ner.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from neurgrad.mceval8k.draw import unit
from neurgrad.mceval8k.record import Record, id_keys, text_keys
from neurgrad.mceval8k.source import SPLITS
from neurgrad.mceval8k.task import Task

SHARES = {"train": 6, "valid": 1, "test": 1}

Stratum = tuple[str, int]


def resplit(task: Task, records: Sequence[Record], seed: int = 0) -> dict[str, list[Record]]:
    """Cut records into train, valid and test, 6:1:1, so that no text and no id is in two of them.

    The cut depends on the records and the seed alone: not on the order of the records, on Python's
    version or on its hash seed. Each split comes in a drawn order, so that any prefix of it is a
    fair sample.
    """
    drawn = {i: unit(seed, task.name, record.content) for i, record in enumerate(records)}
    groups = [sorted(group, key=drawn.__getitem__) for group in tied(task, records)]
    # the large groups first, while every split has room for them
    groups.sort(key=lambda group: (-len(group), drawn[group[0]]))
    strata = [_stratum(record) for record in records]
    wanted = _targets(Counter(strata))
    room = {split: Counter(wanted[split]) for split in SPLITS}
    cut: dict[str, list[int]] = {split: [] for split in SPLITS}
    for group in groups:
        split = max(
            SPLITS,
            # the split that lacks the largest share of what this group brings
            key=lambda s: sum(room[s][strata[i]] / (wanted[s][strata[i]] or 1) for i in group),
        )
        cut[split] += group
        room[split].subtract(strata[i] for i in group)
    return {s: [records[i] for i in sorted(cut[s], key=drawn.__getitem__)] for s in SPLITS}


def tied(task: Task, records: Iterable[Record]) -> list[list[int]]:
    """Return the positions of records tied together, directly or through others, in groups."""
    parent: list[int] = []

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    owner: dict[str, int] = {}
    for i, record in enumerate(records):
        parent.append(i)
        for key in [*text_keys(task, record), *id_keys(task, record)]:
            parent[root(owner.setdefault(key, i))] = root(i)
    groups: dict[int, list[int]] = {}
    for i in range(len(parent)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def _stratum(record: Record) -> Stratum:
    return record.lang, record.label


def _targets(pool: Counter[Stratum]) -> dict[str, Counter[Stratum]]:
    """Return how many records of each stratum a split should get.

    Rounded on the running sum over strata, so that the splits' totals are 6:1:1 as well.
    """
    whole = sum(SHARES.values())
    wanted: dict[str, Counter[Stratum]] = {split: Counter() for split in SPLITS}
    before = 0
    for stratum in sorted(pool):
        after = before + pool[stratum]
        for split in ("valid", "test"):
            share = SHARES[split]
            wanted[split][stratum] = after * share // whole - before * share // whole
        held_out = wanted["valid"][stratum] + wanted["test"][stratum]
        wanted["train"][stratum] = pool[stratum] - held_out
        before = after
    return wanted
