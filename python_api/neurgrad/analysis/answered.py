"""Choose what is studied: prompts that a model answers, and random neurons for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurgrad.facts import Fact, Known, keep_known

if TYPE_CHECKING:
    from negkernel import Engine


def answered(
    engine: Engine,
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    limit: int | None = None,
    advance: Callable[[int], object] = lambda n: None,
    **encoding: Any,
) -> Known:
    """Keep the prompts whose answer is the token that the model finds likeliest.

    Parameters
    ----------
    limit : int, optional
        Stop after this many; the others are not looked at.
    advance : callable
        Told how many more prompts were looked at.

    Raises
    ------
    ValueError
        No prompt is answered correctly; the message counts why and says what to do.
    """
    rows = zip(prompts, answers, strict=True)
    facts = [Fact(i, answer, {"prompt": text}) for i, (text, answer) in enumerate(rows, start=1)]
    known = keep_known(engine, facts, ["{prompt}"], limit=limit, advance=advance, **encoding)
    if not known.rows:
        raise ValueError(
            f"{known}; nothing to study. `negkernel prompts` finds prompts that a model answers"
        )
    return known


def random_neurons(engine: Engine, n_prompts: int, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` different neurons for each prompt, uniformly over all layers: [P, n, 2]."""
    every = engine.neurons
    rng = np.random.default_rng(seed)
    n = min(n, len(every))
    chosen = [np.sort(rng.choice(len(every), n, replace=False)) for _ in range(n_prompts)]
    return every[np.stack(chosen)]
