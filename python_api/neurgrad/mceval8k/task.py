"""What a multiple-choice task is: its fields, its labels and the lines of its question."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

LANGUAGES = ("en", "fr", "de", "zh", "es")

Form = Literal["plain", "quoted", "cloze", "listed", "fixed"]


@dataclass(frozen=True)
class Part:
    """One headed part of a question, for example ``### Text:...``.

    Attributes
    ----------
    header : str
        English header; `Wording` translates it.
    form : {"plain", "quoted", "cloze", "listed", "fixed"}
        A field as it is; in single quotes (a list of tokens joined by spaces); with its object slot
        ``[Y]`` shown as ``[MASK]``; a list, or several fields, as lettered lines; the same lettered
        lines for every record.
    fields : tuple of str
        Fields of the record that are shown.
    choices : tuple of str
        English lines of a "fixed" part.
    """

    header: str
    form: Form
    fields: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def plain(header: str, field: str) -> Part:
    """Show a field as it is."""
    return Part(header, "plain", (field,))


def quoted(header: str, field: str) -> Part:
    """Show a word or a phrase of the text in single quotes."""
    return Part(header, "quoted", (field,))


def cloze(header: str, field: str) -> Part:
    """Show a sentence whose missing object is marked."""
    return Part(header, "cloze", (field,))


def listed(header: str, *fields: str) -> Part:
    """Show the record's own options, one lettered line each."""
    return Part(header, "listed", fields)


def fixed(header: str, *choices: str) -> Part:
    """Show the same options for every record."""
    return Part(header, "fixed", (), choices)


@dataclass(frozen=True)
class Task:
    """A multiple-choice task in the schema of MCEval8K.

    Attributes
    ----------
    name, paper, genre : str
        Name of the data set's configuration, name in the paper's tables, genre (paper, table 7).
    labels : tuple of str, [K]
        Target strings in label order: what the model is asked to write.
    question : tuple of Part
        Parts in the order in which a prompt shows them.
    answer : str
        English header of the answer, the last line of a question.
    text : tuple of str
        Fields that hold the main text. No clean split shares one of them with another.
    label_field : str
        Field that holds the gold label.
    classes : tuple, [K], optional
        Values of `label_field` in label order; 0..K-1 by default.
    ids : tuple of str
        Fields that tie parallel records together, as `text` does.
    languages : tuple of str
        Languages in which prompts are written.
    seed : int
        The reference's seed of this task, the default for choosing demonstrations.
    folder : str, optional
        Folder name where it differs from `name`.
    spaced_chinese : bool
        Chinese text is tokenised by spaces, which prompts leave out.
    instruction : str or mapping, optional
        Instruction of a user's own task, by language where it has several; the built-in tasks take
        theirs from `Wording`.
    """

    name: str
    genre: str
    labels: tuple[str, ...]
    question: tuple[Part, ...]
    answer: str = "Answer"
    text: tuple[str, ...] = ("text",)
    label_field: str = "label"
    classes: tuple[Any, ...] = ()
    ids: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    seed: int = 42
    paper: str = ""
    folder: str = ""
    spaced_chinese: bool = False
    instruction: str | Mapping[str, str] = ""

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise ValueError(
                f"task {self.name!r} needs two or more different labels, got {self.labels}"
            )
        if self.classes and len(self.classes) != len(self.labels):
            raise ValueError(
                f"task {self.name!r} has {len(self.labels)} labels and {len(self.classes)} classes;"
                " give one value of the label field per label"
            )
        # a frozen dataclass fills its own defaults through object
        object.__setattr__(self, "classes", self.classes or tuple(range(len(self.labels))))
        object.__setattr__(self, "paper", self.paper or self.name)
        object.__setattr__(self, "folder", self.folder or self.name)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields every record must have."""
        shown = [field for part in self.question for field in part.fields]
        lang = ["lang"] if len(self.languages) > 1 else []
        return tuple(dict.fromkeys([*self.text, *shown, self.label_field, *self.ids, *lang]))

    def options(self, fields: Mapping[str, Any]) -> list[str] | None:
        """Return the record's own options, or None where all records share theirs."""
        for part in self.question:
            if part.form == "listed":
                first = fields[part.fields[0]]
                return first if isinstance(first, list) else [fields[name] for name in part.fields]
        return None

    @property
    def sentence_pair(self) -> tuple[str, ...]:
        """The two fields that are each other's alternative (clang8), or nothing."""
        pairs = [part.fields for part in self.question if part.form == "listed"]
        return pairs[0] if pairs and len(pairs[0]) == 2 else ()
