"""Gradient features of labelled prompts, a batch at a time, reduced as they are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurgrad.features.packed import PackedScores

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt

MOST_PROMPTS = 64  # of a batch; a few-shot prefix is read once for all of them
BATCH_BYTES = 1 << 28  # of a batch's float scores


@dataclass(frozen=True)
class Features:
    """Features of consecutive prompts.

    Attributes
    ----------
    rows : slice
        Which prompts.
    scores : PackedScores [q, K, N]
        Order of each neuron's NeurGrad scores for the K labels and of zero.
    probability : float32 array [q, K]
        The model's probability of each label's token.
    activation : float32 array [q, N]
        Activation of each neuron at the last token.
    """

    rows: slice
    scores: PackedScores
    probability: NDArray[np.float32]
    activation: NDArray[np.float32]


def batch_size(n_labels: int, n_neurons: int) -> int:
    """Prompts of one batch, from the sizes alone so that batches are the same in every run."""
    return int(min(MOST_PROMPTS, max(1, BATCH_BYTES // (4 * n_labels * n_neurons))))


def stream(
    engine: Engine, prompts: Sequence[Prompt], *, site: str = "paper", first: int = 0
) -> Iterator[Features]:
    """Compute the features of prompts, one prefill and K single-token VJPs each.

    Parameters
    ----------
    prompts : sequence of Prompt
        All with the same number of labels K.
    site : str
        Which tensor a neuron is, as in :meth:`negkernel.Engine.gradients`.
    first : int
        Prompt to begin with, a multiple of `batch_size`.

    Yields
    ------
    Features
        Of one batch; its float scores are gone when the next one is asked for.
    """
    K, N = len(prompts[0].labels), engine.n_layers * engine.n_neurons
    step = batch_size(K, N)
    for start in range(first, len(prompts), step):
        batch = prompts[start : start + step]
        found = engine.gradients(
            [prompt.text for prompt in batch], [list(prompt.labels) for prompt in batch], site=site
        )
        q = len(batch)
        yield Features(
            slice(start, start + q),
            PackedScores.encode(found.neurgrad().reshape(q, K, N)),
            found.prob.astype(np.float32),
            found.activation.reshape(q, N).astype(np.float32),
        )
