"""Read facts out of tables and put them into the words of a template.

A table is rows below the names of its columns: MyriadLAMA's (``prompt`` with a ``[MASK]``,
``answer``), MCEval8K's (``text`` with a ``[Y]``, ``options``, ``label``), or one of one's own
(``subject``, ``answer`` and whatever a template asks for).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BLANKS = ("[MASK]", "[Y]")
ANSWERS = ("answer", "object")
SENTENCE, BEFORE = "sentence", "before"  # fields that are made of a row's cloze


@dataclass(frozen=True)
class Fact:
    """One row of a table.

    Attributes
    ----------
    row : int
        From 1, below the header.
    answer : str
    fields : mapping of str to str
        The row's cells by column, ``sentence`` (its cloze, ``[MASK]`` in the blank) and ``before``
        (the cloze up to a blank that ends it), where it has them.
    """

    row: int
    answer: str
    fields: Mapping[str, str]


def facts_of(names: Sequence[str], rows: Sequence[Sequence[object]]) -> list[Fact]:
    """Read every row of a table as a fact.

    Raises
    ------
    ValueError
        No column holds the answers, or a row has none.
    """
    if not rows:
        raise ValueError("no rows; expected one fact a row")
    found = []
    for number, row in enumerate(rows, start=1):
        cells = dict(zip(names, row, strict=True))
        answer = _answer(cells, number)
        fields = {name: str(value) for name, value in cells.items() if value is not None}
        fields |= _cloze(fields)
        found.append(Fact(number, answer, fields))
    return found


def default_template(facts: Sequence[Fact], *, masked: bool) -> str:
    """Return the template for a table that comes without one."""
    names = set().union(*(fact.fields for fact in facts))
    if "prompt" in names:
        return "{prompt}"
    if SENTENCE in names:
        return f"{{{SENTENCE if masked else BEFORE}}}"
    raise ValueError(
        f"no column 'prompt' and no sentence with {' or '.join(BLANKS)}; found "
        f"{', '.join(sorted(names))}: give a template that names some of them in braces"
    )


def check_template(template: str, facts: Sequence[Fact]) -> None:
    """Refuse a template that no fact has the fields of."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is no template: {error}") from None
    wanted = [field for _, field, _, _ in parts if field is not None]
    if any(form or conversion for _, _, form, conversion in parts):
        raise ValueError(f"{template!r} formats a column; expected its name alone in the braces")
    known = set().union(*(fact.fields for fact in facts))
    if missing := [field for field in wanted if field not in known]:
        raise ValueError(
            f"{template!r} asks for {missing[0]!r}; the facts have {', '.join(sorted(known))}"
        )
    if not wanted:
        raise ValueError(f"{template!r} names no column in braces, such as {{{min(known)}}}")


def word(fact: Fact, template: str) -> str | None:
    """Put a fact into a template; None where it lacks a field (a blank that is not at the end)."""
    try:
        return template.format_map(fact.fields)
    except KeyError:
        return None


def _answer(cells: Mapping[str, object], row: int) -> str:
    options, label = cells.get("options"), cells.get("label")
    if isinstance(options, Sequence) and not isinstance(options, str):
        if type(label) is not int or not 0 <= label < len(options):
            raise ValueError(
                f"row {row}: label {label!r} is no index of its {len(options)} options"
            )
        answer = options[label]
    else:
        column = next((name for name in ANSWERS if name in cells), None)
        if column is None:
            raise ValueError(
                f"no column {' or '.join(map(repr, ANSWERS))}, and no options with a label; found "
                f"{', '.join(map(repr, cells))}"
            )
        answer = cells[column]
    if not isinstance(answer, str | int) or not str(answer).strip():
        raise ValueError(f"row {row} has the answer {answer!r}; expected a word")
    return str(answer)


def _cloze(fields: Mapping[str, str]) -> dict[str, str]:
    """Fields made of the line of a row that has the blank: the last one, without its ``Q:``."""
    for text in (fields.get(name) for name in ("template", "prompt", "text")):
        lines = [line for line in (text or "").splitlines() if any(b in line for b in BLANKS)]
        if not lines:
            continue
        sentence = lines[-1].removeprefix("Q:").strip()
        sentence = sentence.replace("[X]", fields.get("subject", "[X]"))
        for blank in BLANKS[1:]:
            sentence = sentence.replace(blank, BLANKS[0])
        before, blank, after = sentence.rpartition(BLANKS[0])
        ends = not after.strip(" .?!") and before.strip() and BLANKS[0] not in before
        return {SENTENCE: sentence} | ({BEFORE: before.rstrip()} if ends else {})
    return {}
