"""Score the answers of prompts, and keep the prompts whose answer the model knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from neurgrad.facts.tables import Fact, word

if TYPE_CHECKING:
    from negkernel import Engine

BATCH = 16  # facts that are asked together

Score = tuple[int, float] | str
"""How many tokens are likelier than the answer, and its probability; or why it cannot be asked."""


def score(
    engine: Engine, prompts: Sequence[str], answers: Sequence[str], **encoding: Any
) -> list[Score]:
    """Rank and probability of each answer, or why the model cannot be asked for it."""
    found: list[Score] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        try:
            engine.plan([prompt], [answer], calibrate=False, **encoding)
            found.append("")
        except ValueError as reason:
            # The engine was shown one prompt alone; its number says nothing.
            found.append(str(reason).replace("prompt 0", "the prompt"))
    able = [i for i, why_not in enumerate(found) if not why_not]
    if not able:
        return found
    asked = [prompts[i] for i in able], [answers[i] for i in able]
    # A sweep without a shift reads rank and probability in one pass over the prompts.
    read = engine.sweep(*asked, engine.neurons[:1], [0.0], metrics=("rank",), **encoding)
    assert read.rank is not None
    for i, rank, logprob in zip(able, read.rank[:, 0, 0], read.base_logprob, strict=True):
        found[i] = int(rank), float(np.exp(logprob))
    return found


@dataclass
class Known:
    """Prompts that a model answers, and what became of the other facts.

    Attributes
    ----------
    rows : list of dict
        ``prompt``, ``answer``, ``probability``, ``rank``, ``fact`` (its row) and ``template``.
    asked, several, refused, unworded, unknown : int
        Facts that were looked at; of these, with an answer of several tokens, that cannot be asked
        otherwise, that no template fits, and that the model answers otherwise.
    first_problem : str
        Which row is the first that cannot be asked, and why; empty if all can.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    several: int = 0
    refused: int = 0
    unworded: int = 0
    unknown: int = 0
    first_problem: str = ""

    @property
    def prompts(self) -> list[str]:
        """The prompts that are known."""
        return [row["prompt"] for row in self.rows]

    @property
    def targets(self) -> list[str]:
        """Their answers."""
        return [row["answer"] for row in self.rows]

    def __str__(self) -> str:
        text = f"{len(self.rows)} of {self.asked} facts are known, {self.unknown} are not"
        for count, what in (
            (self.several, "have answers of several tokens"),
            (self.refused, "cannot be asked"),
            (self.unworded, "fit no template"),
        ):
            text += f", {count} {what}" if count else ""
        return f"{text} (the first: {self.first_problem})" if self.first_problem else text

    def advice(self) -> str:
        """What to do where hardly a fact is known."""
        if self.several > self.asked / 2:
            return "choose facts with answers of one token, or another target prefix"
        if self.unworded > self.asked / 2:
            return "give a template of other fields: the blank must end the sentence for {before}"
        return "try other templates (a worked example before the question), or a least probability"


def keep_known(
    engine: Engine,
    facts: Sequence[Fact],
    templates: Sequence[str],
    *,
    least: float | None = None,
    limit: int | None = None,
    dress: Callable[[list[str]], list[str]] = lambda prompts: prompts,
    advance: Callable[[int], object] = lambda n: None,
    **encoding: Any,
) -> Known:
    """Ask every fact in every template, and keep the likeliest wording that the model knows.

    Parameters
    ----------
    least : float, optional
        Keep what the model gives at least this probability; by default what it ranks first.
    limit : int, optional
        Stop at so many known ones.
    dress : callable
        What is done to prompts before they are asked, such as a chat template.
    advance : callable
        Told how many more facts were looked at.
    """
    known, seen = Known(), set()
    for first in range(0, len(facts), BATCH):
        if len(known.rows) == limit:
            break
        few = facts[first : first + BATCH]
        asked = [(fact, t, text) for fact in few for t in templates if (text := word(fact, t))]
        prompts = dress([text for _, _, text in asked])
        scores = score(engine, prompts, [fact.answer for fact, _, _ in asked], **encoding)
        for fact in few:
            if len(known.rows) == limit:
                break
            own = [
                (prompt, template, found)
                for prompt, (asker, template, _), found in zip(prompts, asked, scores, strict=True)
                if asker is fact
            ]
            row = _judged(known, fact, own, least)
            if row is not None and (row["prompt"], row["answer"]) not in seen:
                seen.add((row["prompt"], row["answer"]))
                known.rows.append(row)
        advance(len(few))
    return known


def _judged(
    known: Known, fact: Fact, own: Sequence[tuple[str, str, Score]], least: float | None
) -> dict[str, Any] | None:
    """Count a fact, and return its row where the model knows it."""
    known.asked += 1
    if not own:
        known.unworded += 1
        return None
    read = [(s[1], -s[0], p, t) for p, t, s in own if not isinstance(s, str)]
    if not read:
        reason = str(own[0][2])
        several = "one token" in reason
        known.several += several
        known.refused += not several
        known.first_problem = known.first_problem or f"row {fact.row}: {reason}"
        return None
    good = [one for one in read if (one[1] == 0 if least is None else one[0] >= least)]
    if not good:
        known.unknown += 1
        return None
    probability, rank, prompt, template = max(good)
    return {
        "prompt": prompt,
        "answer": fact.answer,
        "probability": probability,
        "rank": -rank,
        "fact": fact.row,
        "template": template,
    }
