"""Read arrays of integers and of numbers as users give them, in lists, arrays or tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel.arguments import shown


class NeuronIndexError(IndexError, ValueError):
    """A (layer, index) pair that the model does not have."""


def integers(values: Any, name: str) -> np.ndarray:
    """Return ``values`` as an int64 array; raise ValueError, calling them ``name``."""
    try:
        array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(
            f"{name} is not a rectangular array; expected [N, 2] of (layer, index)"
        ) from None
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers (layer, index); got dtype {array.dtype}")
    return array.astype(np.int64)


def numbers(values: Any, name: str) -> np.ndarray:
    """Return ``values`` as a float64 array of finite numbers; raise ValueError as above."""
    try:
        if isinstance(values, Tensor) and values.is_floating_point():
            values = values.detach().double().cpu()  # bfloat16 has no numpy type
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers; got {shown(values)}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity; expected finite numbers")
    return array


def check_fits(array: np.ndarray, name: str, dtype: torch.dtype) -> None:
    """Refuse numbers that the dtype of rows cannot compute with.

    Norms square the state, into which a shift goes multiplied by a weight and an activation: the
    largest is three decimal orders below the root of what the dtype holds.
    """
    largest = 1e-3 * torch.finfo(dtype).max ** 0.5
    if np.abs(array).max() > largest:
        raise ValueError(
            f"{name} contains {array[np.abs(array).argmax()]:g}, too large to compute with in "
            f"{dtype}; expected numbers up to {largest:.0e}"
        )
