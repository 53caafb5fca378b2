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
    unusable : int
        Of these, how many the model cannot be asked: an answer of several tokens, a prompt that is
        too long.
    missed : int
        How many the model answers otherwise.
    first_problem : str
        Which row is the first unusable one, from 1, and why; empty if all are usable.
    """

    prompts: list[str]
    targets: list[str]
    asked: int
    unusable: int
    missed: int
    first_problem: str

    def __len__(self) -> int:
        return len(self.prompts)

    def __str__(self) -> str:
        text = (
            f"{len(self)} of {self.asked} prompts are answered correctly, {self.missed} otherwise, "
            f"{self.unusable} cannot be asked"
        )
        return f"{text} (the first: {self.first_problem})" if self.first_problem else text


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
    asked = unusable = missed = 0
    problem = ""
    for prompt, answer in zip(prompts, answers, strict=True):
        if limit is not None and len(kept) == limit:
            break
        asked += 1
        try:
            correct = engine.rank([prompt], [answer])[0] == 0
        except ValueError as reason:
            unusable += 1
            # The engine was shown one prompt alone; its number says nothing.
            text = str(reason).replace("prompt 0", "the prompt")
            problem = problem or f"row {asked}: {text}"
            continue
        if correct:
            kept.append((prompt, answer))
        else:
            missed += 1
    found = Answered(
        prompts=[prompt for prompt, _ in kept],
        targets=[answer for _, answer in kept],
        asked=asked,
        unusable=unusable,
        missed=missed,
        first_problem=problem,
    )
    if not kept:
        raise ValueError(f"{found}; nothing to study")
    return found


def random_neurons(engine: Engine, n_prompts: int, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` different neurons for each prompt, uniformly over all layers: [P, n, 2]."""
    every = engine.neurons
    rng = np.random.default_rng(seed)
    n = min(n, len(every))
    chosen = [np.sort(rng.choice(len(every), n, replace=False)) for _ in range(n_prompts)]
    return every[np.stack(chosen)]
