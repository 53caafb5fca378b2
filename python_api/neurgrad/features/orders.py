"""The order of a neuron's K label scores and of zero, as one small number.

Skill-neuron probes never look at a score's size, only at how the K scores and zero are ordered:
signs, the best and the worst label and the rank of the gold label all follow from it. K labels and
zero make K + 1 items, so there are ``(K + 1)!`` strict orders: 6, 24 and 120 for K = 2, 3 and 4,
which fit a byte, and 720 for K = 5.

The number is the order's Lehmer code. With ``s[K] = 0`` it is
``sum over i < j of [s[j] > s[i]] * (K - i)!``: digit i counts the later items that lie above item
i, and no sorting is needed. Among equal scores the lower label comes first and zero comes last;
which neighbours of that order are really equal is kept beside the code, one bit a pair.
"""

from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

MAX_LABELS = 7  # (7 + 1)! = 40,320 orders still fit 16 bits


def code_dtype(n_labels: int) -> np.dtype:
    """Smallest unsigned dtype that holds every order of ``n_labels`` scores and zero.

    Raises
    ------
    ValueError
        Fewer than 2 labels, or more than `MAX_LABELS`.
    """
    if not 2 <= n_labels <= MAX_LABELS:
        raise ValueError(
            f"score orders are packed for 2 to {MAX_LABELS} labels, got {n_labels}; "
            "give the probes the float scores themselves"
        )
    return np.dtype(np.uint8 if factorial(n_labels + 1) <= 256 else np.uint16)


def encode_orders(scores: NDArray) -> tuple[NDArray, NDArray]:
    """Order codes of a block of scores, and where the order is not strict.

    Parameters
    ----------
    scores : array [Q, K, N]
        Score of each prompt, label and neuron, finite.

    Returns
    -------
    codes : uint8 or uint16 array [Q, N]
    tied : bool array [Q, N]
        True where a score is exactly zero or equals another one.
    """
    Q, K, N = scores.shape
    dtype = code_dtype(K)
    codes = np.zeros((Q, N), dtype)
    tied = np.zeros((Q, N), bool)
    zero = scores.dtype.type(0)
    for i in range(K):
        weight = dtype.type(factorial(K - i))
        for j in range(i + 1, K + 1):
            later = scores[:, j] if j < K else zero
            codes += (later > scores[:, i]) * weight
            tied |= later == scores[:, i]
    return codes, tied


def equal_neighbours(scores: NDArray) -> NDArray[np.uint8]:
    """Which neighbours in the order of K scores and zero are equal.

    Parameters
    ----------
    scores : array [T, K]

    Returns
    -------
    uint8 array [T]
        Bit p is set when the items at places p and p + 1, from the top, are equal.
    """
    items = np.column_stack([scores, np.zeros(len(scores), scores.dtype)])
    falling = np.sort(items, axis=1)[:, ::-1]
    equal = falling[:, 1:] == falling[:, :-1]
    return (equal << np.arange(equal.shape[1])).sum(axis=1).astype(np.uint8)


@lru_cache
def order_table(n_labels: int) -> NDArray[np.uint8]:
    """Items of every order, highest first: [(K + 1)!, K + 1], where item K is zero."""
    K = n_labels
    table = np.empty((factorial(K + 1), K + 1), np.uint8)
    for code in range(len(table)):
        order: list[int] = []
        for item in range(K, -1, -1):
            n_above = code // factorial(K - item) % (K - item + 1)
            order.insert(n_above, item)
        table[code] = order
    table.flags.writeable = False
    return table


def ordinal_scores(codes: NDArray, equal: NDArray[np.uint8], n_labels: int) -> NDArray[np.int8]:
    """Small integers that are ordered, among themselves and around zero, as the scores were.

    Any formula that only compares scores gives the same result on these.

    Parameters
    ----------
    codes : array [T]
    equal : uint8 array [T]
        Bits of `equal_neighbours`; 0 for a strict order.
    n_labels : int

    Returns
    -------
    int8 array [T, K]
    """
    order = order_table(n_labels)[codes]
    falls = 1 - (equal[:, None] >> np.arange(n_labels) & 1)
    level = np.zeros(order.shape, np.int8)
    level[:, 1:] = -np.cumsum(falls, axis=1)
    by_item = np.empty_like(level)
    np.put_along_axis(by_item, order.astype(np.intp), level, axis=1)
    return by_item[:, :n_labels] - by_item[:, n_labels:]


def strict_ordinals(n_labels: int) -> NDArray[np.int8]:
    """`ordinal_scores` of every strict order: [(K + 1)!, K]."""
    codes = np.arange(factorial(n_labels + 1))
    return ordinal_scores(codes, np.zeros(len(codes), np.uint8), n_labels)
