"""Where records come from: a folder of JSON files, or the data set on the Hub.

A folder is laid out as ``<genre>/<task>/{train,valid,test}.json``, each file one JSON array of flat
records.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurgrad.mceval8k.task import Task

HUB = "iszhaoxin/MCEval8K"
ROOT_VARIABLE = "NEGKERNEL_MCEVAL8K"
SPLITS = ("train", "valid", "test")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """The rows of one task as they were published.

    Attributes
    ----------
    rows : dict
        Rows by split: "train", "valid", "test"; an absent file is an absent key.
    missing : tuple of str
        Files that were looked for and not found.
    """

    rows: Mapping[str, list[Row]]
    missing: tuple[str, ...] = field(default=())


def read(task: Task, root: str | Path | None = None) -> Published:
    """Read a task's rows.

    Parameters
    ----------
    task : Task
        The task.
    root : path, optional
        Folder of the data, or `HUB`. By default the folder named by the environment variable
        ``NEGKERNEL_MCEVAL8K``, and without one the Hub.

    Raises
    ------
    ValueError
        If nothing of the task is there, or a file is not an array of records with its fields.
    """
    root = root or os.environ.get(ROOT_VARIABLE) or HUB
    published = _from_hub(task) if str(root) == HUB else _from_folder(task, Path(root))
    for split, rows in published.rows.items():
        _check(task, split, rows)
    return published


def write(task: Task, rows: Mapping[str, list[Row]], root: str | Path) -> Path:
    """Write rows in the layout that `read` expects and return the task's folder."""
    folder = Path(root) / task.genre / task.folder
    folder.mkdir(parents=True, exist_ok=True)
    for split, records in rows.items():
        text = json.dumps(records, ensure_ascii=False, indent=1)
        (folder / f"{split}.json").write_text(text + "\n", encoding="utf-8")
    return folder


def _from_folder(task: Task, root: Path) -> Published:
    # the Hub spells one folder differently from the published archive
    folder = next(
        (f for name in (task.folder, task.name) if (f := root / task.genre / name).is_dir()),
        root / task.genre / task.folder,
    )
    rows, missing = {}, []
    for split in SPLITS:
        path = folder / f"{split}.json"
        if not path.is_file():
            missing.append(str(path))
            continue
        try:
            rows[split] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON ({error}); fetch the file again") from error
    if not rows:
        raise ValueError(
            f"no file of task {task.name!r} is in {folder}; expected train.json, valid.json and "
            f"test.json there. Pass root= or set {ROOT_VARIABLE} to the folder that holds the "
            "genres, or pass root=mceval8k.HUB to download"
        )
    return Published(rows, tuple(missing))


def _from_hub(task: Task) -> Published:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(
            f"reading {HUB} from the Hub needs the package `datasets` (pip install datasets); or "
            f"pass root= or set {ROOT_VARIABLE} to a folder with the data"
        ) from error
    hub = load_dataset(HUB, task.name)
    names = {"train": "train", "valid": "validation", "test": "test"}
    rows = {split: hub[name].to_list() for split, name in names.items() if name in hub}
    missing = tuple(f"{HUB}/{task.name}/{name}" for name in names.values() if name not in hub)
    return Published(rows, missing)


def _check(task: Task, split: str, rows: object) -> None:
    where = f"task {task.name!r}, {split}"
    if not isinstance(rows, list):
        raise ValueError(f"{where}: expected a JSON array of records, got {type(rows).__name__}")
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"{where}, row {i}: expected a record, got {type(row).__name__}")
        if absent := [name for name in task.fields if name not in row]:
            raise ValueError(
                f"{where}, row {i}: field {absent[0]!r} is missing; expected {list(task.fields)}, "
                f"got {sorted(row)}"
            )
