"""Prompts that a model answers: as in the paper, only these are studied, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from negkernel import Engine


@dataclass(frozen=True)
class Answered:
    """Prompts whose answer is one token and the model's own first choice.

    Attributes
    ----------
    prompts, targets : list of str
    asked : int
        Prompts that were given.
    several_tokens : int
        Of these, how many have an answer of more than one token.
    missed : int
        How many the model answers otherwise.
    first_problem : str
        Why the first unusable answer is unusable; empty if all are usable.
    """

    prompts: list[str]
    targets: list[str]
    asked: int
    several_tokens: int
    missed: int
    first_problem: str

    def __len__(self) -> int:
        return len(self.prompts)

    def __str__(self) -> str:
        return (
            f"{len(self)} of {self.asked} prompts are answered correctly ({self.missed} answered "
            f"otherwise, {self.several_tokens} with an answer that is not one token)"
        )


def answered(
    engine: Engine, prompts: Sequence[str], answers: Sequence[str], *, limit: int | None = None
) -> Answered:
    """Keep the prompts whose answer is the token that the model finds likeliest.

    Parameters
    ----------
    limit : int, optional
        Stop after this many; the others are not looked at.

    Raises
    ------
    ValueError
        No prompt is answered correctly; the message counts why.
    """
    kept: list[tuple[str, str]] = []
    asked = several = missed = 0
    problem = ""
    for prompt, answer in zip(prompts, answers, strict=True):
        if limit is not None and len(kept) == limit:
            break
        asked += 1
        try:
            correct = engine.rank([prompt], [answer])[0] == 0
        except ValueError as reason:
            several += 1
            problem = problem or str(reason)
            continue
        if correct:
            kept.append((prompt, answer))
        else:
            missed += 1
    found = Answered(
        prompts=[prompt for prompt, _ in kept],
        targets=[answer for _, answer in kept],
        asked=asked,
        several_tokens=several,
        missed=missed,
        first_problem=problem,
    )
    if not kept:
        raise ValueError(f"{found}; nothing to study. {problem}".strip())
    return found


def random_neurons(engine: Engine, n_prompts: int, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` different neurons for each prompt, uniformly over all layers: [P, n, 2]."""
    total = engine.n_layers * engine.n_neurons
    rng = np.random.default_rng(seed)
    n = min(n, total)
    flat = [np.sort(rng.choice(total, n, replace=False)) for _ in range(n_prompts)]
    return np.stack(np.divmod(np.stack(flat), engine.n_neurons), axis=-1)
