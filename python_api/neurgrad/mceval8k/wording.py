"""The words of a prompt that are not the record's own: instructions, headers, fixed options.

A TOML or JSON file replaces any of them::

    [instructions]
    agnews = "Name the topic of the article."

    [instructions.mlama]
    de = "Welche Option ersetzt [MASK]?"

    [terms.zh]
    Question = "问题"
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurgrad.mceval8k.instructions import INSTRUCTIONS, TERMS
from neurgrad.mceval8k.task import LANGUAGES, Task

Table = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Wording:
    """Instructions and translated words.

    Attributes
    ----------
    instructions : mapping
        Task -> language (or name of a paws instruction, "IT1" to "IT4") -> text. A text that
        begins with ``###`` stands as it is, any other behind the header of an instruction.
    terms : mapping
        Language -> English word -> word to show.
    """

    instructions: Table = field(default_factory=lambda: INSTRUCTIONS)
    terms: Table = field(default_factory=lambda: TERMS)

    def instruction(self, task: Task, key: str) -> str:
        """Return the instruction of a task in a language, or for an instruction's name."""
        known = dict(self.instructions.get(task.name, {}))
        own = task.instruction
        known |= {"en": own} if isinstance(own, str) and own else dict(own or {})
        if key not in known:
            raise ValueError(
                f"there is no instruction {key!r} for task {task.name!r}, only {sorted(known)}; "
                "give it as Task.instruction"
            )
        return known[key]

    def term(self, word: str, language: str) -> str:
        """Return an English header or option in a language."""
        return self.terms.get(language, {}).get(word, word)

    def replace(
        self, instructions: Mapping[str, Any] | None = None, terms: Table | None = None
    ) -> "Wording":
        """Lay other texts over these; an instruction may be one text, meant for English.

        Raises
        ------
        ValueError
            If a task, a language or an instruction's name is unknown, or a text is not a string.
        """
        by_task: dict[str, Mapping[str, str]] = dict(self.instructions)
        for task, texts in (instructions or {}).items():
            _known(task, self.instructions, "task")
            texts = texts if isinstance(texts, Mapping) else {"en": texts}
            for key, text in texts.items():
                _known(key, self.instructions[task], f"instruction of task {task!r}")
                _text(text, f"instructions.{task}.{key}")
            by_task[task] = {**by_task[task], **texts}
        by_language: dict[str, Mapping[str, str]] = dict(self.terms)
        for language, words in (terms or {}).items():
            _known(language, LANGUAGES, "language")
            for word, shown in words.items():
                _text(shown, f"terms.{language}.{word}")
            by_language[language] = {**by_language.get(language, {}), **words}
        return Wording(by_task, by_language)

    @classmethod
    def from_file(cls, path: str | Path) -> "Wording":
        """Lay the texts of a TOML or JSON file over the built-in wording.

        Raises
        ------
        ValueError
            If the file cannot be read or names something unknown.
        """
        path = Path(path)
        readers = {".toml": tomllib.loads, ".json": json.loads}
        if path.suffix not in readers:
            raise ValueError(f"{path}: a wording file ends in .toml or .json")
        try:
            tables = readers[path.suffix](path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"wording file {path} cannot be read: {error}") from error
        for name in tables:
            _known(name, ("instructions", "terms"), f"table of {path}")
        return cls().replace(**tables)


def _known(name: str, names: Mapping[str, Any] | tuple[str, ...], what: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; expected one of {sorted(names)}"
        raise ValueError(f"{name!r} is no known {what}{hint}")


def _text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} is {value!r}; expected a text")
