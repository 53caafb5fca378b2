"""A task with its three splits, clean or as published."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from neurgrad.mceval8k.record import Split
from neurgrad.mceval8k.repair import mend, sift
from neurgrad.mceval8k.resplit import resplit
from neurgrad.mceval8k.source import SPLITS, Published, read
from neurgrad.mceval8k.task import Task
from neurgrad.mceval8k.tasks import find

Scheme = Literal["clean", "published"]


@dataclass(frozen=True)
class Dataset:
    """The records of one task.

    Attributes
    ----------
    task : Task
        The task.
    splits : {"clean", "published"}
        Scheme of the splits.
    train, valid, test : Split
        Records. Clean splits come in a drawn order. Published ones come in the order of the files,
        which are sorted by label: shuffle before taking a prefix.
    counts : mapping
        Rows mended, dropped and noticed, by the rules of `neurgrad.mceval8k.repair`.
    missing : tuple of str
        Published files that were not there.
    """

    task: Task
    splits: Scheme
    train: Split
    valid: Split
    test: Split
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def load(
    task: str | Task,
    splits: Scheme = "clean",
    root: str | Path | None = None,
    *,
    seed: int = 0,
) -> Dataset:
    """Load one task of MCEval8K.

    Parameters
    ----------
    task : str or Task
        A name of `TASKS`, or a task of one's own kept in the same layout.
    splits : {"clean", "published"}
        "clean" cuts the unique usable records again, 6:1:1, without overlap (see `resplit`);
        "published" is the files' own division, leaks included.
    root : path, optional
        Folder of the data, or `HUB`. By default the folder named by ``NEGKERNEL_MCEVAL8K``, and
        without one the data set `iszhaoxin/MCEval8K` on the Hub.
    seed : int
        Seed of the clean cut.

    Returns
    -------
    Dataset
        The records. Files that are missing are warned of and named in `.missing`: a clean cut uses
        the others, a published split without its file is empty.

    Raises
    ------
    ValueError
        If the task is unknown or none of its files can be read.
    """
    if splits not in get_args(Scheme):
        raise ValueError(f"splits is {splits!r}; expected 'clean' or 'published'")
    task = find(task) if isinstance(task, str) else task
    published = read(task, root)
    if published.missing:
        warnings.warn(
            f"task {task.name!r} lacks {', '.join(published.missing)}; going on with the "
            f"{len(published.rows)} files that are there",
            stacklevel=2,
        )
    return arrange(task, published, splits, seed=seed)


def arrange(task: Task, published: Published, splits: Scheme, *, seed: int = 0) -> Dataset:
    """Mend published rows and divide them by a scheme."""
    counts: Counter[str] = Counter()
    cut = {split: mend(task, split, published.rows.get(split, []), counts) for split in SPLITS}
    if splits == "clean":
        pool = [record for split in SPLITS for record in cut[split]]
        cut = resplit(task, sift(task, pool, counts), seed)
    used = {rule: n for rule, n in counts.items() if n}
    train, valid, test = (Split(cut[split]) for split in SPLITS)
    return Dataset(task, splits, train, valid, test, used, published.missing)
