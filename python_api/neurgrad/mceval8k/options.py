"""The rules by which raw data becomes multiple choice (paper, appendix F).

A rule gives every raw row its options and the index of the gold one. Gold positions go round the
letters in a drawn order, so the labels come out even; rows that share an id are translations and
get the same position.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from neurgrad.mceval8k.draw import shuffled, unit, weighted_sample
from neurgrad.mceval8k.task import Task

Row = Mapping[str, Any]


class OptionRule(Protocol):
    """Gives raw rows their options and labels."""

    def apply(self, task: Task, rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
        """Return the rows with the fields that the task asks for."""


@dataclass(frozen=True)
class FrequencyOptions:
    """Wrong options are other answers of the same kind, as often as they occur (fact, tag, chunk).

    Attributes
    ----------
    answer : str
        Field with the right answer.
    pool : str
        Field that says which answers compete: the relation of a fact, the language of a tag. Empty
        if all do.
    known : str
        Field with every right answer of the row; none of them becomes a wrong option.
    k : int
        Number of options.
    """

    answer: str
    pool: str = ""
    known: str = ""
    k: int = 4

    def apply(self, task: Task, rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
        """Draw the wrong options with probability proportional to their frequency."""
        frequency: dict[Any, Counter[str]] = {}
        for row in rows:
            pool = frequency.setdefault(row.get(self.pool), Counter())
            pool[row[self.answer]] += 1
        made = []
        for i, row, position in _placed(task, rows, self.k, seed):
            right = {row[self.answer], *row.get(self.known, ())}
            rivals = frequency[row.get(self.pool)]
            others = {answer: n for answer, n in rivals.items() if answer not in right}
            wrong = weighted_sample(others, self.k - 1, seed, task.name, i)
            made.append(_with_options(row, row[self.answer], wrong, position, task))
        return made


@dataclass(frozen=True)
class YearOptions:
    """Options are years; the wrong ones are years in which the statement did not hold.

    Attributes
    ----------
    years : str
        Field with the years (int) in which the statement held; one of them is drawn as the answer.
    span : tuple of int
        First and last year that the data cover. Where too few years are wrong, the years before the
        span fill up.
    k : int
        Number of options.
    """

    years: str
    span: tuple[int, int]
    k: int = 4

    def apply(self, task: Task, rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
        """Draw one right year and k - 1 wrong ones, all equally likely."""
        first, last = self.span
        made = []
        for i, row, position in _placed(task, rows, self.k, seed):
            true = sorted(set(row[self.years]))
            if not true:
                raise ValueError(f"row {i}: {self.years!r} is empty; expected the right years")
            false = [year for year in range(first, last + 1) if year not in true]
            before = min(first, true[0])
            false += range(before - 1, before - self.k + len(false), -1)
            answer = shuffled(true, seed, task.name, i, "right")[0]
            wrong = shuffled(false, seed, task.name, i, "wrong")[: self.k - 1]
            made.append(_with_options(row, str(answer), list(map(str, wrong)), position, task))
        return made


@dataclass(frozen=True)
class GivenOptions:
    """The raw data bring their wrong options along; only their order is drawn.

    A task that shows two sentences side by side gets them in its two fields.

    Attributes
    ----------
    answer : str
        Field with the right option.
    wrong : str
        Field with the wrong one, or a list of them.
    """

    answer: str
    wrong: str

    def apply(self, task: Task, rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
        """Put the right option among the wrong ones."""
        made = []
        for i, row, position in _placed(task, rows, len(task.labels), seed):
            given = row[self.wrong]
            wrong = shuffled([given] if isinstance(given, str) else given, seed, task.name, i)
            made.append(_with_options(row, row[self.answer], wrong, position, task))
        return made


def _placed(task: Task, rows: Sequence[Row], k: int, seed: int) -> Iterator[tuple[int, Row, int]]:
    """Yield each row with its number and the position of its right option."""
    if k != len(task.labels):
        raise ValueError(
            f"task {task.name!r} has {len(task.labels)} labels, the rule makes {k} options"
        )
    keys = [tuple(row[name] for name in task.ids) or (i,) for i, row in enumerate(rows)]
    order = sorted(dict.fromkeys(keys), key=lambda key: (unit(seed, task.name, *key), key))
    place = {key: rank % k for rank, key in enumerate(order)}
    for i, row in enumerate(rows):
        yield i, row, place[keys[i]]


def _with_options(
    row: Row, answer: str, wrong: Sequence[str], position: int, task: Task
) -> dict[str, Any]:
    if len(wrong) != len(task.labels) - 1:
        raise ValueError(
            f"task {task.name!r} has {len(task.labels)} labels, so a row needs "
            f"{len(task.labels) - 1} wrong options; got {list(wrong)}"
        )
    options = [*wrong[:position], answer, *wrong[position:]]
    made = {**row, task.label_field: task.classes[position]}
    if pair := task.sentence_pair:
        return {**made, **dict(zip(pair, options, strict=True))}
    field = next((p.fields[0] for p in task.question if p.form == "listed"), "options")
    return {**made, field: options}
