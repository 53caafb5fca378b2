"""One record of a task, and the keys under which two records count as the same."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

from neurgrad.mceval8k.draw import shuffled
from neurgrad.mceval8k.task import Task


@dataclass(frozen=True)
class Record:
    """One question with its gold answer.

    Attributes
    ----------
    fields : mapping
        The file's own fields.
    label : int
        Index of the gold answer among the task's labels.
    lang : str
        Language of the record.
    origin : str
        Published file and row, such as ``test/17``; no part of equality.
    """

    fields: Mapping[str, Any]
    label: int
    lang: str = "en"
    origin: str = field(default="", compare=False)

    def __hash__(self) -> int:
        return hash(self.content)

    @cached_property
    def content(self) -> str:
        """All fields as one string: equal for equal records."""
        return _as_text(self.fields)

    def question(self, task: Task) -> str:
        """Return all fields but the gold label as one string."""
        return _as_text({k: v for k, v in self.fields.items() if k != task.label_field})


def text_keys(task: Task, record: Record) -> list[str]:
    """Return each main text, blind to case and spacing: the sentence, claim, premise, ..."""
    return [_normalised(record.fields[name]) for name in task.text]


def whole_text(task: Task, record: Record) -> str:
    """Return the main texts of a record as one key: premise *and* hypothesis."""
    return "\x1f".join(text_keys(task, record))


def id_keys(task: Task, record: Record) -> list[str]:
    """Return the ids that tie a record to its translations."""
    return [f"{name}={record.fields[name]}" for name in task.ids]


def _as_text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True)


def _normalised(text: str | None) -> str:
    return " ".join((text or "").casefold().split())


class Split(Sequence[Record]):
    """Records of one split, in a fixed order."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Split": ...
    def __getitem__(self, index: int | slice) -> "Record | Split":
        found = self._records[index]
        return Split(found) if isinstance(found, tuple) else found

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __repr__(self) -> str:
        return f"Split({len(self)} records)"

    @property
    def labels(self) -> list[int]:
        """Gold labels, [Q]."""
        return [record.label for record in self._records]

    def shuffled(self, seed: int = 0) -> "Split":
        """Return the records in another order, the same everywhere for one `seed`."""
        return Split(shuffled(self._records, "split", seed))

    def where(self, keep: Callable[[Record], bool]) -> "Split":
        """Return the records that `keep` accepts, for example those of one language."""
        return Split([record for record in self._records if keep(record)])
