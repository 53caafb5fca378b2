"""Counts over packed score orders: one small code for each prompt and neuron.

Unlike the ops of the delta forward these take numpy arrays and count integers, so every backend
gives the same result to the last bit.
"""

import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from negkernel.ops.packed import cpp, reference

__all__ = ["sum_by_label", "votes_by_size"]

BACKENDS: dict[str, ModuleType] = {"cpp": cpp, "reference": reference}


def sum_by_label(
    codes: NDArray, labels: NDArray[np.integer], tables: NDArray[np.int8], *, impl: str = "auto"
) -> NDArray[np.int64]:
    """Sum over prompts of ``tables[labels[q], codes[q, n]]`` for every neuron.

    Parameters
    ----------
    codes : uint8 or uint16 array [Q, N]
        Each below C.
    labels : int array [Q]
        Gold labels, below K.
    tables : int8 array [K, C]
        What a prompt of each gold label adds for each of the C codes.
    impl : str
        "auto", "cpp" or "reference".

    Returns
    -------
    int64 array [N]
    """
    return _backend(impl, codes).sum_by_label(codes, labels, tables)


def votes_by_size(
    codes: NDArray,
    neurons: NDArray[np.integer],
    polarity: NDArray[np.int8],
    tables: NDArray[np.int8],
    sizes: Sequence[int],
    *,
    impl: str = "auto",
) -> NDArray[np.int64]:
    """Votes for each label by the first ``sizes[i]`` of the ranked neurons, all sizes in one pass.

    Parameters
    ----------
    codes : uint8 or uint16 array [Q, N]
        Each below C.
    neurons : int array [M]
        Ranked, ``M = sizes[-1]``.
    polarity : int8 array [M]
        -1, 0 or 1.
    tables : int8 array [3, C, K]
        Votes for the labels by a neuron of polarity -1, 0 and 1, for each of the C codes.
    sizes : ascending ints [S]
    impl : str
        "auto", "cpp" or "reference".

    Returns
    -------
    int64 array [Q, S, K]
    """
    return _backend(impl, codes).votes_by_size(codes, neurons, polarity, tables, sizes)


def _backend(impl: str, codes: NDArray) -> ModuleType:
    if impl == "auto":
        if os.environ.get("NEGKERNEL_BACKEND") == "reference" or cpp.why_not(codes):
            return reference
        return cpp
    if impl not in BACKENDS:
        raise ValueError(f"impl is {impl!r}, expected auto, {', '.join(BACKENDS)}")
    if why_not := BACKENDS[impl].why_not(codes):
        raise NotImplementedError(f"{impl} cannot count these codes: {why_not}")
    return BACKENDS[impl]
