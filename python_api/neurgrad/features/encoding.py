"""Score orders of a batch, found layer by layer on the device that holds the gradients.

The twin of `PackedScores.encode`: what crosses to the host is a code a prompt and neuron (one byte
up to four labels, two above) and the few scores that tie, never the K floats.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurgrad.features.orders import code_dtype, equal_neighbours
from neurgrad.features.packed import PackedScores, Ties, refuse_unordered

if TYPE_CHECKING:
    from torch import Tensor


class OrderBatch:
    """The codes of some prompts, filled from blocks of scores in any order.

    Parameters
    ----------
    n_prompts, n_labels, n_neurons : int
        Q, K, and N over all layers.
    """

    def __init__(self, n_prompts: int, n_labels: int, n_neurons: int) -> None:
        self.n_labels = n_labels
        self.codes = np.empty((n_prompts, n_neurons), code_dtype(n_labels))
        self._ties: list[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.uint8]]] = []

    def add(self, prompts: slice, neurons: slice, scores: Tensor) -> None:
        """Encode the scores [q, K, n] of some prompts and neurons.

        Raises
        ------
        ValueError
            A score is NaN or infinite.
        """
        if not scores.isfinite().all():
            refuse_unordered()
        codes, tied = encode_orders(scores)
        self.codes[prompts, neurons] = codes.cpu().numpy().view(self.codes.dtype)
        prompt, neuron = tied.nonzero(as_tuple=True)
        if len(prompt):
            equal = equal_neighbours(scores[prompt, :, neuron].cpu().numpy())
            place = prompt.cpu().numpy() + prompts.start, neuron.cpu().numpy() + neurons.start
            self._ties.append((*place, equal))

    def finish(self) -> PackedScores:
        """Return the orders of all blocks."""
        none = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)
        prompt, neuron, equal = map(np.concatenate, zip(none, *self._ties, strict=True))
        order = np.lexsort((neuron, prompt))
        ties = Ties(prompt[order].astype(np.int32), neuron[order].astype(np.int32), equal[order])
        return PackedScores(self.codes, self.n_labels, ties)


def encode_orders(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Order codes of a block of scores, and where the order is not strict, on their device.

    Parameters
    ----------
    scores : Tensor [Q, K, N]
        Finite.

    Returns
    -------
    codes : uint8 or int16 Tensor [Q, N]
        Those of :func:`neurgrad.features.orders.encode_orders` bit by bit; int16 stands for
        uint16, in which torch does not add, and wraps around as it does.
    tied : bool Tensor [Q, N]
        True where a score is exactly zero or equals another one.
    """
    import torch

    Q, K, N = scores.shape
    narrow = code_dtype(K).itemsize == 1
    codes = scores.new_zeros((Q, N), dtype=torch.uint8 if narrow else torch.int16)
    tied = scores.new_zeros((Q, N), dtype=torch.bool)
    items = [*scores.unbind(1), scores.new_zeros(())]
    for i, item in enumerate(items[:K]):
        above = scores.new_zeros((Q, N), dtype=torch.uint8)
        for later in items[i + 1 :]:
            above += (later > item).view(torch.uint8)
            tied |= later == item
        codes.add_(above, alpha=factorial(K - i))
    return codes, tied
