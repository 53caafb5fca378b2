"""From ranking scores to neurons: the top n, their polarity, and the sizes worth trying."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from negkernel.arguments import shown

PAPER_SIZES = tuple(2**power for power in range(14))


def top_neurons(scores: NDArray, n_neurons: int, negatives: bool = True) -> NDArray[np.intp]:
    """Flat indices of the best neurons, best first, the lowest index first among equals.

    Parameters
    ----------
    scores : array [N]
        Ranking score: positive for neurons that speak for the gold label, negative against it.
    n_neurons : int
        Must not exceed N, see `check_n_neurons`.
    negatives : bool
        Rank by ``|score|``; otherwise by ``score``.
    """
    strength = np.abs(scores) if negatives else scores
    return np.argsort(-strength, kind="stable")[:n_neurons]


def check_n_neurons(n_neurons: int | None, n_available: int) -> int:
    """Return the number of neurons to use, all of them for None.

    Raises
    ------
    ValueError
        Not a positive integer, or more than there are.
    """
    if n_neurons is None:
        return n_available
    if isinstance(n_neurons, bool) or not isinstance(n_neurons, int | np.integer) or n_neurons < 1:
        raise ValueError(
            f"n_neurons is {shown(n_neurons)}; expected a positive integer, or None for all neurons"
        )
    if n_neurons > n_available:
        raise ValueError(
            f"n_neurons is {n_neurons} but X has only {n_available} neurons; "
            f"ask for at most {n_available}"
        )
    return int(n_neurons)


def check_sizes(sizes: Sequence[int] | None, n_available: int) -> list[int]:
    """Ascending distinct sizes; for None those of the paper, 2^0 to 2^13, that exist.

    Raises
    ------
    ValueError
        No size, or one that `check_n_neurons` refuses.
    """
    if sizes is None:
        return [size for size in PAPER_SIZES if size <= n_available]
    if not isinstance(sizes, Iterable) or isinstance(sizes, str | bytes) or np.ndim(sizes) != 1:
        raise ValueError(f"sizes is {shown(sizes)}; expected a list of numbers of neurons")
    sizes = list(sizes)
    if not sizes:
        raise ValueError("sizes is empty; give at least one number of neurons")
    return sorted({check_n_neurons(size, n_available) for size in sizes})
