"""What is done with the irregular records of the published files.

Rows are mended where nothing has to be guessed. Whatever stays unusable, ambiguous or double is
dropped from clean splits and kept in published ones.

========================= ======= =================================================================
rule                      effect  when
========================= ======= =================================================================
label made an integer     mended  the label is a float without a fraction (amazon-reviews)
sentences put apart       mended  one of two sentences is null and the other holds both, joined by
                                  a TAB (clang8). The source's columns are wrong, right, and it is
                                  the right one that is null: it gets the second half
damaged text              dropped a main text is null or blank, or a TAB and a line break show that
                                  rows of the source ran together (clang8)
gold option repeated      dropped the gold option's text stands under a second letter too
wrong option repeated     kept    only wrong options repeat; the answer is still unique
duplicate                 dropped all fields equal those of an earlier record
conflicting labels        dropped equal in all but the label, and nothing says which is right
========================= ======= =================================================================
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from neurgrad.mceval8k.record import Record
from neurgrad.mceval8k.task import Task

MENDED = ("label made an integer", "sentences put apart")
DROPPED = ("damaged text", "gold option repeated", "duplicate", "conflicting labels")
KEPT = ("wrong option repeated",)


def mend(
    task: Task, split: str, rows: Iterable[Mapping[str, Any]], counts: Counter[str]
) -> list[Record]:
    """Turn published rows into records, mending what can be mended without a guess.

    Parameters
    ----------
    task : Task
        The task of the rows.
    split : str
        Name of the rows' file, for messages and `Record.origin`.
    rows : iterable of mapping
        Published rows.
    counts : Counter
        Raised by one under the rule's name for each row mended.

    Raises
    ------
    ValueError
        If a label is none of the task's classes, a language none of its languages, or the number
        of options is not that of the labels.
    """
    records = []
    for i, row in enumerate(rows):
        fields = dict(row)
        origin = f"{split}/{i}"
        if isinstance(gold := fields[task.label_field], float) and gold.is_integer():
            fields[task.label_field] = int(gold)
            counts["label made an integer"] += 1
        if _put_apart(task, fields):
            counts["sentences put apart"] += 1
        gold = fields[task.label_field]
        if gold not in task.classes:
            raise ValueError(
                f"task {task.name!r}, {origin}: {task.label_field} is {gold!r}; expected one of "
                f"{list(task.classes)}"
            )
        if len(task.languages) > 1 and fields["lang"] not in task.languages:
            raise ValueError(
                f"task {task.name!r}, {origin}: lang is {fields['lang']!r}; expected one of "
                f"{list(task.languages)}"
            )
        options = task.options(fields)
        if options is not None and len(options) != len(task.labels):
            raise ValueError(
                f"task {task.name!r}, {origin}: got {len(options)} options; expected one for each "
                f"of the labels {task.labels}"
            )
        records.append(Record(fields, task.classes.index(gold), fields.get("lang", "en"), origin))
    return records


def sift(task: Task, records: Iterable[Record], counts: Counter[str]) -> list[Record]:
    """Drop the records that no honest split can hold, and count them by rule."""
    seen: set[str] = set()
    labels: dict[str, set[int]] = {}
    kept = []
    for record in records:
        if record.content in seen:
            counts["duplicate"] += 1
            continue
        seen.add(record.content)
        if _damaged(task, record):
            counts["damaged text"] += 1
            continue
        options = task.options(record.fields) or []
        if options and options.count(options[record.label]) > 1:
            counts["gold option repeated"] += 1
            continue
        counts["wrong option repeated"] += len(set(options)) < len(options)
        question = record.question(task)
        labels.setdefault(question, set()).add(record.label)
        kept.append((question, record))
    clear = [record for question, record in kept if len(labels[question]) == 1]
    counts["conflicting labels"] += len(kept) - len(clear)
    return clear


def _put_apart(task: Task, fields: dict[str, Any]) -> bool:
    pair = task.sentence_pair
    null = [name for name in pair if fields[name] is None]
    full = [name for name in pair if isinstance(fields[name], str)]
    if len(null) != 1 or not full or fields[full[0]].count("\t") != 1 or "\n" in fields[full[0]]:
        return False
    wrong, right = (half.strip() for half in fields[full[0]].split("\t"))
    fields[full[0]], fields[null[0]] = wrong, right
    return True


def _damaged(task: Task, record: Record) -> bool:
    texts = {name: record.fields[name] for name in task.text}
    if any(not isinstance(text, str) or not text.strip() for text in texts.values()):
        return True
    return any("\t" in texts[name] and "\n" in texts[name] for name in task.sentence_pair)
