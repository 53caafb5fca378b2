"""Gradient features of labelled prompts, a batch at a time, reduced as they are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurgrad.features.encoding import OrderBatch
from neurgrad.features.packed import PackedScores

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt

MOST_PROMPTS = 64  # of a batch; a few-shot prefix is read once for all of them
BATCH_BYTES = 1 << 28  # of a batch's scores, had they a float each


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
    activation : float32 array [q, N], or None
        Activation of each neuron at the last token, where asked for.
    """

    rows: slice
    scores: PackedScores
    probability: NDArray[np.float32]
    activation: NDArray[np.float32] | None


def batch_size(n_labels: int, n_neurons: int) -> int:
    """Prompts of one batch, from the sizes alone so that batches are the same in every run."""
    return int(min(MOST_PROMPTS, max(1, BATCH_BYTES // (4 * n_labels * n_neurons))))


def stream(
    engine: Engine,
    prompts: Sequence[Prompt],
    *,
    site: str = "paper",
    first: int = 0,
    activations: bool = False,
    neurons: NDArray[np.integer] | None = None,
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
    activations : bool
        Whether to read them too.
    neurons : ascending int array [n], optional
        Flat indices of the only neurons to keep; N is then their number.

    Yields
    ------
    Features
        Of one batch. Its float scores never exist beyond a layer, nor leave their device.
    """
    step = batch_size(len(prompts[0].labels), len(engine.neurons))
    for start in range(first, len(prompts), step):
        batch = prompts[start : start + step]
        yield _features(engine, batch, start, site, activations, neurons)


def _features(
    engine: Engine,
    batch: Sequence[Prompt],
    start: int,
    site: str,
    activations: bool,
    neurons: NDArray[np.integer] | None,
) -> Features:
    import torch

    q, K = len(batch), len(batch[0].labels)
    # Neurons of layer l are columns bounds[l] to bounds[l + 1] of the result.
    first = bounds = np.concatenate([[0], engine.widths.cumsum()])
    if neurons is not None:
        bounds = np.searchsorted(neurons, bounds)
    orders = OrderBatch(q, K, int(bounds[-1]))
    probability = np.empty((q, K), np.float32)
    activation = np.empty((q, int(bounds[-1])), np.float32) if activations else None
    for part in engine.stream_gradients(
        [prompt.text for prompt in batch], [list(prompt.labels) for prompt in batch], site=site
    ):
        columns = slice(int(bounds[part.layer]), int(bounds[part.layer + 1]))
        cg, values = part.cg, part.activation
        if neurons is not None:
            chosen = torch.from_numpy(neurons[columns] - first[part.layer]).to(cg.device)
            cg, values = cg[..., chosen], values[..., chosen]
        # NeurGrad: a neuron at exactly 0 has -cg, see `negkernel.Gradients.neurgrad`.
        orders.add(part.prompts, columns, torch.where(values[:, None] > 0, cg, -cg))
        probability[part.prompts] = part.prob.cpu().numpy()
        if activation is not None:
            activation[part.prompts, columns] = values.cpu().numpy()
    return Features(slice(start, start + q), orders.finish(), probability, activation)
