"""A record as the question block of a prompt (paper, appendix I).

Headers read ``### Name:`` with the value right behind, options are lines ``a.text``, and the block
ends with the answer's header and its colon, without a space.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from neurgrad.mceval8k.record import Record
from neurgrad.mceval8k.task import Part, Task
from neurgrad.mceval8k.wording import Wording


def question(
    task: Task,
    record: Record,
    *,
    language: str = "en",
    wording: Wording | None = None,
    labels: Sequence[str] = (),
) -> str:
    """Write a record as a question that is still to be answered.

    Parameters
    ----------
    task : Task
        The record's task.
    record : Record
        The record.
    language : str
        Language of the headers.
    wording : Wording, optional
        Words to use; the built-in ones by default.
    labels : sequence of str, [K], optional
        Letters of the options; the task's labels by default.

    Raises
    ------
    ValueError
        If a field that the question shows is null.
    """
    wording = wording or Wording()
    letters = labels or task.labels
    lines = []
    for part in task.question:
        if null := [name for name in part.fields if record.fields[name] is None]:
            raise ValueError(
                f"task {task.name!r}, {record.origin}: {null[0]!r} is null and cannot be shown; "
                "clean splits leave such records out"
            )
        value = _value(part, record.fields, letters, wording, language)
        if task.spaced_chinese and language == "zh" and part.form == "plain":
            value = value.replace(" ", "")
        lines.append(f"### {wording.term(part.header, language)}:{value}")
    lines.append(f"### {wording.term(task.answer, language)}:")
    # a blank line is what separates the parts of a prompt, so none may stand inside one
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()


def _value(
    part: Part,
    fields: Mapping[str, Any],
    letters: Sequence[str],
    wording: Wording,
    language: str,
) -> str:
    if part.form == "fixed":
        return _lettered([wording.term(choice, language) for choice in part.choices], letters)
    if part.form == "listed":
        values = [fields[name] for name in part.fields]
        return _lettered(values[0] if len(values) == 1 else values, letters)
    value = fields[part.fields[0]]
    if part.form == "quoted":
        return f"'{' '.join(value) if isinstance(value, list) else value}'"
    return value.replace("[Y]", "[MASK]") if part.form == "cloze" else value


def _lettered(options: Sequence[str], letters: Sequence[str]) -> str:
    pairs = zip(letters, options, strict=True)
    return "".join(f"\n{letter}.{option}" for letter, option in pairs)
