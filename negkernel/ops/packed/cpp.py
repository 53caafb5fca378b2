"""The counts on the CPU: csrc/packed."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from negkernel.ops import _ext


def why_not(codes: NDArray) -> str | None:
    """Return None if the kernels can count these codes, else the reason."""
    if (missing := _ext.why_not("sum_by_label", ())) is not None:
        return missing
    if codes.dtype not in (np.uint8, np.uint16):
        return f"they are {codes.dtype}, the kernels are for uint8 and uint16"
    if codes.strides[1] != codes.itemsize or codes.strides[0] % codes.itemsize:
        return f"their strides are {codes.strides}, the kernels are for rows without gaps"
    return None


def sum_by_label(
    codes: NDArray, labels: NDArray[np.integer], tables: NDArray[np.int8]
) -> NDArray[np.int64]:
    """See `negkernel.ops.packed.sum_by_label`."""
    labels = np.ascontiguousarray(labels, np.int64)
    tables = np.ascontiguousarray(tables, np.int8)
    total = np.empty(codes.shape[1], np.int64)
    _ext.kernels().sum_by_label(
        codes.ctypes.data,
        labels.ctypes.data,
        tables.ctypes.data,
        total.ctypes.data,
        **_sizes(codes),
        C=tables.shape[1],
        K=tables.shape[0],
        num_threads=torch.get_num_threads(),
    )
    return total


def votes_by_size(
    codes: NDArray,
    neurons: NDArray[np.integer],
    polarity: NDArray[np.int8],
    tables: NDArray[np.int8],
    sizes: Sequence[int],
) -> NDArray[np.int64]:
    """See `negkernel.ops.packed.votes_by_size`."""
    ends = np.ascontiguousarray(sizes, np.int64)
    # Within a size the order is free, and neighbours share cache lines.
    segment = np.searchsorted(ends, np.arange(len(neurons)), side="right")
    order = np.lexsort((neurons, segment))
    neurons = np.ascontiguousarray(neurons[order], np.int64)
    polarity = np.ascontiguousarray(polarity[order], np.int8)
    tables = np.ascontiguousarray(tables, np.int8)
    votes = np.empty((len(codes), len(ends), tables.shape[2]), np.int64)
    _ext.kernels().votes_by_size(
        codes.ctypes.data,
        neurons.ctypes.data,
        polarity.ctypes.data,
        tables.ctypes.data,
        ends.ctypes.data,
        votes.ctypes.data,
        **_sizes(codes),
        C=tables.shape[1],
        M=len(neurons),
        K=tables.shape[2],
        S=len(ends),
        num_threads=torch.get_num_threads(),
    )
    return votes


def _sizes(codes: NDArray) -> dict[str, int | bool]:
    return {
        "Q": codes.shape[0],
        "N": codes.shape[1],
        "stride": codes.strides[0] // codes.itemsize,
        "wide": codes.itemsize == 2,
    }
