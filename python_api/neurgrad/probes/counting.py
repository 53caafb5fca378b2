"""Evidence and votes of a probe's formula, from float scores or from packed orders.

A formula is written once, on scores with the label axis second. Float scores go through it as they
are. For packed orders it is evaluated once a code, on ordinal scores, and then only looked up and
counted; the sparse ties, whose code stands for a strict order, are put right afterwards.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from negkernel.ops.packed import sum_by_label, votes_by_size
from neurgrad.features.orders import ordinal_scores, strict_ordinals
from neurgrad.features.packed import OrderStore, PackedScores, check_finite, row_blocks

Block = NDArray | PackedScores

Evidence = Callable[[NDArray, NDArray[np.integer]], NDArray]
"""(scores [Q, K, N], gold labels [Q]) -> what each prompt adds to each neuron's score, [Q, N]."""

Votes = Callable[[NDArray], NDArray]
"""Scores times polarity, [Q, K, N] -> each neuron's vote for each label, [Q, K, N]."""


def score_blocks(X: NDArray | OrderStore) -> Iterator[tuple[slice, Block]]:
    """Blocks of consecutive prompts with their rows, so that scratch stays flat in Q."""
    if not isinstance(X, np.ndarray):
        yield from X.blocks()
        return
    for rows in row_blocks(len(X), X.shape[1] * X.shape[2] * X.itemsize):
        check_finite(X[rows])
        yield rows, X[rows]


def sum_evidence(block: Block, labels: NDArray[np.integer], evidence: Evidence) -> NDArray:
    """Sum a formula's evidence over the block's prompts, int64 [N]."""
    if isinstance(block, np.ndarray):
        return evidence(block, labels).sum(axis=0, dtype=np.int64)
    ordinal = strict_ordinals(block.n_labels)[:, :, None]
    tables = np.stack(
        [
            evidence(ordinal, np.full(len(ordinal), label))[:, 0].astype(np.int8)
            for label in range(block.n_labels)
        ]
    )
    total = sum_by_label(block.codes, labels, tables)
    if len(ties := block.ties):
        gold = labels[ties.prompt]
        exact = evidence(block.tie_ordinals()[:, :, None], gold)[:, 0]
        counted = tables[gold, block.codes[ties.prompt, ties.neuron]]
        np.add.at(total, ties.neuron, exact - counted)
    return total


def count_votes(
    block: Block,
    neurons: NDArray[np.integer],
    polarity: NDArray[np.int8],
    votes: Votes,
    sizes: Sequence[int],
) -> NDArray:
    """Total votes for each label by the first ``sizes[i]`` of the ranked neurons.

    Parameters
    ----------
    block : float array or PackedScores [Q, K, N]
    neurons : int array [M]
        Ranked, ``M = sizes[-1]``.
    polarity : int8 array [M]
    votes : callable
        The formula.
    sizes : ascending ints [S]

    Returns
    -------
    array [Q, S, K]
    """
    if isinstance(block, np.ndarray):
        each = votes(block[:, :, neurons] * polarity.astype(block.dtype))
        starts = [0, *sizes[:-1]]
        return np.add.reduceat(each, starts, axis=2).cumsum(axis=2).swapaxes(1, 2)
    ordinal = strict_ordinals(block.n_labels)[:, :, None]
    tables = np.stack([votes(sign * ordinal)[:, :, 0].astype(np.int8) for sign in (-1, 0, 1)])
    total = votes_by_size(block.codes, neurons, polarity, tables, sizes)
    place = np.full(block.n_neurons, -1, np.int32)
    place[neurons] = np.arange(len(neurons))
    ties = block.ties.where(place[block.ties.neuron] >= 0)
    if len(ties):
        rank = place[ties.neuron]
        sign, codes = polarity[rank], block.codes[ties.prompt, ties.neuron]
        ordinals = ordinal_scores(codes, ties.equal, block.n_labels)
        exact = votes(sign[:, None, None] * ordinals[:, :, None])[:, :, 0]
        counted = tables[sign + 1, codes]
        first_size = np.searchsorted(sizes, rank, side="right")
        change = np.zeros_like(total)
        np.add.at(change, (ties.prompt, first_size), exact - counted)
        total += change.cumsum(axis=1)
    return total
