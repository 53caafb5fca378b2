"""The fact table and the prompts made from it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd

from negkernel.arguments import check_choice
from neurgrad.demo.templates import RELATIONS, templates

Kind = Literal["causal", "masked"]

MASK = "[MASK]"


@cache
def _table() -> pd.DataFrame:
    # Everything is text, calling codes too: they are answers, not quantities.
    return pd.read_csv(Path(__file__).with_name("facts.csv"), dtype=str, keep_default_na=False)


def facts() -> Iterator[tuple[str, str, str]]:
    """Yield ``(relation, subject, answer)`` for every fact.

    The table holds a country a line. A cell is empty where the truth is disputed, changing, or
    more than one word; the Americas count as one continent, ``America``.
    """
    for relation, parts in RELATIONS.items():
        for subject, answer in zip(_table()[parts.subject], _table()[parts.answer], strict=True):
            if subject and answer:
                yield relation, subject, answer


def prompts(kind: Kind) -> pd.DataFrame:
    """Return every fact in every phrasing, ready for the model of that kind.

    Parameters
    ----------
    kind
        ``"causal"``: the prompt ends before the answer. ``"masked"``: the answer's place in the
        sentence, which may be anywhere, holds ``[MASK]``.

    Returns
    -------
    pandas.DataFrame
        One row per fact and template, with columns ``prompt`` (text for the tokenizer),
        ``answer`` (one token of it), ``relation``, ``subject``, ``template`` (the sentence with
        ``[X]`` for the subject and ``[Y]`` for the answer) and ``split`` (``"train"``, or
        ``"heldout"`` for phrasings that training never showed).

    Raises
    ------
    ValueError
        If `kind` is neither ``"causal"`` nor ``"masked"``.
    """
    check_choice("kind of demo model", kind, ("causal", "masked"))
    rows = []
    for relation, subject, answer in facts():
        for template in templates(relation):
            if kind == "causal" and not template.is_cloze_at_end:
                continue
            sentence = template.text.replace("[X]", subject)
            if kind == "causal":
                prompt = sentence.removesuffix(" [Y].")
            else:
                prompt = sentence.replace("[Y]", MASK)
            rows.append((prompt, answer, relation, subject, template.text, template.split))
    return pd.DataFrame(
        rows, columns=["prompt", "answer", "relation", "subject", "template", "split"]
    )
