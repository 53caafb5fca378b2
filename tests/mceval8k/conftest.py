"""A small MCEval8K of our own making: the published schema, its leaks and its irregularities."""

import json
import os
from pathlib import Path

import pytest

from neurgrad.mceval8k.source import ROOT_VARIABLE
from neurgrad.mceval8k.task import LANGUAGES, Task
from neurgrad.mceval8k.tasks import TASKS

PER_CLASS = 24  # a multiple of three, so that no text is repeated under another label


def row_of(task: Task, i: int, label: int, lang: str) -> dict[str, object]:
    """Make record number `i`; every third one repeats the main text of the one before it."""
    K = len(task.labels)
    texts = {name: f"{task.name} {name} {i - (i % 3 == 2)} {lang}" for name in task.text}
    fields: dict[str, object] = {name: texts.get(name, f"{name} {i}") for name in task.fields}
    for name in ("options", "sentences"):
        if name in fields:
            fields[name] = [f"{name} {i} {k}" for k in range(K)]
    if "target_chunk" in fields:
        fields["target_chunk"] = ["target", str(i)]
    if "[Y]" not in str(fields.get("text")) and task.name in ("mlama", "myriadlama"):
        fields["text"] = f"{fields['text']} is in [Y]."
    if len(task.languages) > 1:
        fields["lang"] = lang
    fields[task.label_field] = task.classes[label]
    for name in task.ids:
        fields[name] = f"id {i}"
    if task.name == "amazon-reviews":
        fields["label"] = float(task.classes[label])
    return fields


def write_task(task: Task, root: Path) -> None:
    """Write a task whose valid and test sets are the first rows of train, as most published are."""
    langs = task.languages if len(task.languages) > 1 else LANGUAGES[:1]
    K = len(task.labels)
    numbered = [(i, i // PER_CLASS, lang) for lang in langs for i in range(K * PER_CLASS)]
    train = [row_of(task, i, label, lang) for i, label, lang in numbered]
    held = train[:: PER_CLASS // 4]
    if task.name == "clang8":
        train += [
            {"sentence1": None, "sentence2": "he go .\the goes .", "acceptable": 0},
            {"sentence1": "they is .\tthey are .", "sentence2": None, "acceptable": 1},
            {"sentence1": "right .", "sentence2": "wrong .\tright .\nmore", "acceptable": 0},
        ]
    if task.name == "fever":
        train += [{"claim": "two labels", "label": 0}, {"claim": "two labels", "label": 1}]
    if task.name == "commonsenseqa":
        train += [
            {"text": "gold twice", "options": ["x", "y", "x", "z", "w"], "label": 0},
            {"text": "wrong twice", "options": ["x", "y", "y", "z", "w"], "label": 0},
        ]
    files = {"train": train, "valid": held, "test": held}
    if task.name in ("imdb", "chunking"):
        del files["train"]
    folder = root / task.genre / task.folder
    folder.mkdir(parents=True)
    for split, rows in files.items():
        (folder / f"{split}.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the small data set."""
    folder = tmp_path_factory.mktemp("MCEval8K")
    for task in TASKS.values():
        write_task(task, folder)
    return folder


@pytest.fixture(scope="session")
def published_root() -> Path:
    """Return the folder of the real data set, if this machine has one."""
    beside = Path(__file__).parents[3] / "shared" / "MCEval8K"
    folder = Path(os.environ.get(ROOT_VARIABLE) or beside)
    if not folder.is_dir():
        pytest.skip(
            f"MCEval8K itself is neither named by {ROOT_VARIABLE} nor at ../shared/MCEval8K"
        )
    return folder
