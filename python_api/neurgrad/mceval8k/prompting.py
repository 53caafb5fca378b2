"""Prompts of a task, zero-shot and few-shot.

A prompt is the instruction, the demonstrations and the question, separated by blank lines. All
prompts of one language begin with the same string, so an engine reads that part once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurgrad.mceval8k.contexts import Context, find_context
from neurgrad.mceval8k.demonstrations import Order, choose
from neurgrad.mceval8k.layout import question
from neurgrad.mceval8k.load import Dataset
from neurgrad.mceval8k.record import Record
from neurgrad.mceval8k.task import Task
from neurgrad.mceval8k.wording import Wording
from neurgrad.prompt import Prompt


@dataclass(frozen=True)
class Prompts:
    """Prompts of a task's three splits.

    Attributes
    ----------
    task : Task
        The task as its context asks it.
    train, valid, test : tuple of Prompt
        Prompts, in the order of the data set's records; demonstrations are not in `train`.
    demonstrations : mapping
        Language -> records shown in its prompts.
    """

    task: Task
    train: tuple[Prompt, ...]
    valid: tuple[Prompt, ...]
    test: tuple[Prompt, ...]
    demonstrations: Mapping[str, tuple[Record, ...]]


def prompts(
    data: Dataset,
    shots: int | None = None,
    *,
    order: Order = "fixed",
    seed: int | None = None,
    context: str | Context | None = None,
    wording: Wording | str | Path | None = None,
    labels: Sequence[str] = (),
) -> Prompts:
    """Write the prompts of a data set.

    Parameters
    ----------
    data : Dataset
        Records, from `load` or `construct`.
    shots : int, optional
        Number of demonstrations, 0 by default or the context's. The labels take turns, so as many
        as there are labels show one of each (the paper's few-shot setting).
    order : {"fixed", "shuffled"}
        Order of the demonstrations: that of the labels, or drawn by `seed`.
    seed : int, optional
        Seed of the demonstrations; the context's or the task's own by default.
    context : str or Context, optional
        For paws a name of `PAWS_CONTEXTS`.
    wording : Wording or path, optional
        Other instructions and headers, or a TOML or JSON file of them.
    labels : sequence of str, [K], optional
        Other target strings, and letters of the options, where a tokenizer splits the task's own.
        The instruction should ask for them too.

    Returns
    -------
    Prompts
        Prompts of the three splits, in every language of the task.

    Raises
    ------
    ValueError
        If labels, context or wording do not fit the task, or train records are too few.
    """
    way = find_context(data.task, context) if context is not None else Context("", shots=0)
    task = way.apply(data.task)
    targets = tuple(labels) or task.labels
    if len(targets) != len(task.labels) or len(set(targets)) != len(targets):
        raise ValueError(
            f"task {task.name!r} has the {len(task.labels)} labels {task.labels}; labels= must "
            f"give as many different ones, got {targets}"
        )
    if seed is None:
        seed = way.seed if context is not None else task.seed
    shots = way.shots if shots is None else shots
    words = _wording(wording)
    pen = _Pen(task, words, targets)

    shown: dict[str, tuple[Record, ...]] = {}
    for language in _languages(data):
        pool = [record for record in data.train if language_of(task, record) == language]
        shown[language] = tuple(choose(task, pool, shots, order=order, seed=seed))
        key = language if way.instruction == "en" else way.instruction
        pen.begin(language, words.instruction(task, key), shown[language])
    used = {record.content for records in shown.values() for record in records}
    return Prompts(
        task,
        tuple(pen.write(record) for record in data.train if record.content not in used),
        tuple(map(pen.write, data.valid)),
        tuple(map(pen.write, data.test)),
        shown,
    )


def _wording(given: Wording | str | Path | None) -> Wording:
    if isinstance(given, Wording):
        return given
    return Wording() if given is None else Wording.from_file(given)


def language_of(task: Task, record: Record) -> str:
    """Return the language a record is asked in: its own, if the task is asked in several."""
    return record.lang if len(task.languages) > 1 else task.languages[0]


def _languages(data: Dataset) -> list[str]:
    present = {
        language_of(data.task, record)
        for split in (data.train, data.valid, data.test)
        for record in split
    }
    return [language for language in data.task.languages if language in present]


class _Pen:
    """Writes a task's records behind the shared beginning of their language."""

    def __init__(self, task: Task, wording: Wording, labels: tuple[str, ...]) -> None:
        self.task, self.wording, self.labels = task, wording, labels
        self.prefix: dict[str, str] = {}

    def begin(self, language: str, instruction: str, shown: Sequence[Record]) -> None:
        text = instruction.strip()
        if not text.startswith("###"):
            text = f"### {self.wording.term('Instruction', language)}: {text}"
        answered = [self._question(record) + self.labels[record.label] for record in shown]
        self.prefix[language] = "".join(f"{block}\n\n" for block in [text, *answered])

    def write(self, record: Record) -> Prompt:
        language = language_of(self.task, record)
        prefix = self.prefix[language]
        text = prefix + self._question(record)
        return Prompt(text, self.labels, record.label, language, record, prefix)

    def _question(self, record: Record) -> str:
        return question(
            self.task,
            record,
            language=language_of(self.task, record),
            wording=self.wording,
            labels=self.labels,
        )
