"""The two counts over order codes that all time is spent in.

Plain numpy, integers only: the same results are due from any faster version that takes its place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def sum_by_label(
    codes: NDArray, labels: NDArray[np.integer], tables: NDArray[np.int8]
) -> NDArray[np.int64]:
    """Sum over prompts of ``tables[labels[q], codes[q, n]]`` for every neuron.

    Parameters
    ----------
    codes : uint8 or uint16 array [Q, N]
    labels : int array [Q]
        Gold labels, below K.
    tables : int8 array [K, C]
        What a prompt of each gold label adds for each of the C codes.

    Returns
    -------
    int64 array [N]
    """
    total = np.zeros(codes.shape[1], np.int64)
    for label, table in enumerate(tables):
        total += table[codes[labels == label]].sum(axis=0, dtype=np.int64)
    return total


def votes_by_size(
    codes: NDArray, polarity: NDArray[np.int8], tables: NDArray[np.int8], sizes: Sequence[int]
) -> NDArray[np.int64]:
    """Votes for each label by the first ``sizes[i]`` neurons, for all sizes in one pass.

    Parameters
    ----------
    codes : uint8 or uint16 array [Q, M]
        Columns in ranking order, ``M = sizes[-1]``.
    polarity : int8 array [M]
        -1, 0 or 1.
    tables : int8 array [3, C, K]
        Votes for the labels by a neuron of polarity -1, 0 and 1, for each of the C codes.
    sizes : ascending ints [S]

    Returns
    -------
    int64 array [Q, S, K]
    """
    votes = np.empty((len(codes), len(sizes), tables.shape[2]), np.int64)
    start = 0
    for i, stop in enumerate(sizes):
        segment = tables[polarity[start:stop] + 1, codes[:, start:stop]]
        votes[:, i] = segment.sum(axis=1, dtype=np.int64)
        start = stop
    return votes.cumsum(axis=1)
