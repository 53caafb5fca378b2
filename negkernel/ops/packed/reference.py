"""The counts in plain numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def why_not(codes: NDArray) -> str | None:
    """Return None: numpy counts everything."""
    return None


def sum_by_label(
    codes: NDArray, labels: NDArray[np.integer], tables: NDArray[np.int8]
) -> NDArray[np.int64]:
    """See `negkernel.ops.packed.sum_by_label`."""
    total = np.zeros(codes.shape[1], np.int64)
    for label, table in enumerate(tables):
        total += table[codes[labels == label]].sum(axis=0, dtype=np.int64)
    return total


def votes_by_size(
    codes: NDArray,
    neurons: NDArray[np.integer],
    polarity: NDArray[np.int8],
    tables: NDArray[np.int8],
    sizes: Sequence[int],
) -> NDArray[np.int64]:
    """See `negkernel.ops.packed.votes_by_size`."""
    votes = np.empty((len(codes), len(sizes), tables.shape[2]), np.int64)
    start = 0
    for i, stop in enumerate(sizes):
        segment = tables[polarity[start:stop] + 1, codes[:, neurons[start:stop]]]
        votes[:, i] = segment.sum(axis=1, dtype=np.int64)
        start = stop
    return votes.cumsum(axis=1)
