"""Phrasings of every relation, composed from parts.

A template is a sentence with two slots, as in LAMA: ``[X]`` is the subject and ``[Y]`` the
answer. It is put together from an opening, a clause that names the relation and an ending, so a
few words give dozens of phrasings. Every sixth combination is held out of training; since each of
its parts occurs in other combinations, all its words were seen, only never together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

OPENINGS = (
    "",
    "In fact, ",
    "As everyone knows, ",
    "It is known that ",
    "We learned at school that ",
    "The atlas says that ",
)
# No ending begins with another one: after "is" the next word is the answer and nothing else.
ENDINGS = ("is", "bears the name", "goes by the name of")


@dataclass(frozen=True)
class Relation:
    """One relation of the fact table and the parts its sentences are made of.

    Attributes
    ----------
    subject, answer
        Columns of ``facts.csv`` that fill ``[X]`` and ``[Y]``.
    clauses
        Noun phrases that contain ``[X]`` and mean the answer.
    endings
        What stands between the clause and the answer.
    questions
        The same relation asked, for the ``Q: ... A: ...`` form.
    article
        What precedes the answer where it opens the sentence.
    """

    subject: str
    answer: str
    clauses: tuple[str, ...]
    endings: tuple[str, ...]
    questions: tuple[str, ...]
    article: str = ""


@dataclass(frozen=True)
class Template:
    """A sentence with slots ``[X]`` and ``[Y]``, and whether training sees it."""

    text: str
    split: str

    @property
    def is_cloze_at_end(self) -> bool:
        """Whether only the full stop follows the answer, so that a causal model can be asked."""
        return self.text.endswith(" [Y].")


RELATIONS = {
    "capital": Relation(
        subject="country",
        answer="capital",
        clauses=(
            "the capital of [X]",
            "the capital city of [X]",
            "the city that [X] has as its capital",
        ),
        endings=ENDINGS,
        questions=("What is the capital of [X]?", "Which city does [X] have as its capital?"),
    ),
    "language": Relation(
        subject="country",
        answer="language",
        clauses=(
            "the main language of [X]",
            "the language most spoken in [X]",
            "the language that most people in [X] speak",
        ),
        endings=ENDINGS,
        questions=("What is the main language of [X]?", "Which language is most spoken in [X]?"),
    ),
    "currency": Relation(
        subject="country",
        answer="currency",
        clauses=(
            "the currency of [X]",
            "the money used in [X]",
            "the money that most people in [X] use",
        ),
        endings=("is the", *ENDINGS[1:]),
        questions=("What is the currency of [X]?", "Which money is used in [X]?"),
        article="the ",
    ),
    "continent": Relation(
        subject="country",
        answer="continent",
        clauses=(
            "the continent of [X]",
            "the continent on which [X] lies",
            "the continent that has [X] on its map",
        ),
        endings=ENDINGS,
        questions=("What is the continent of [X]?", "Which continent has [X] on its map?"),
    ),
    "code": Relation(
        subject="country",
        answer="code",
        clauses=(
            "the calling code of [X]",
            "the telephone code used for [X]",
            "the code with which calls to [X] begin",
        ),
        endings=("is", "bears the number", "consists of the number"),
        questions=("What is the calling code of [X]?", "Which code is used for calls to [X]?"),
    ),
    "country": Relation(
        subject="capital",
        answer="country",
        clauses=(
            "the country whose capital is [X]",
            "the country with the capital [X]",
            "the country that has [X] as its capital",
        ),
        endings=ENDINGS,
        questions=(
            "Which country has the capital [X]?",
            "What is the country whose capital is [X]?",
        ),
    ),
}


def templates(relation: str) -> Iterator[Template]:
    """Yield every template of a relation, the same ones in the same order each time.

    The first ones ask for the answer at the end of a statement, then come those that ask for it
    at the start, which only a masked model can fill, and last the questions.
    """
    parts = RELATIONS[relation]
    predicates = [f"[C] {ending} [Y]" for ending in parts.endings]
    predicates.append(f"{parts.article}[Y] is [C]")
    numbered = product(enumerate(predicates), enumerate(parts.clauses), enumerate(OPENINGS))
    for (k, predicate), (j, clause), (i, opening) in numbered:
        sentence = opening + predicate.replace("[C]", clause)
        held_out = (i + j + k) % len(OPENINGS) == len(OPENINGS) - 1
        yield Template(_capitalise(sentence) + ".", "heldout" if held_out else "train")
    for question in parts.questions:
        yield Template(f"Q: {question}\nA: [Y].", "train")


def _capitalise(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
