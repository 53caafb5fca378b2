"""Turn lists of positive and negative neurons into one intervention."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel import Intervention
from negkernel.arguments import check_number, shown
from negkernel.request.neurons import check_shifts

_JUST_BELOW_0 = -np.finfo(np.float64).tiny  # 0 itself is allowed
_SIZE = "0 or a positive number"


def shift_of(
    neurons: Sequence[Sequence[Sequence[int]]],
    signs: tuple[float, float],
    changes: tuple[Any, Any],
    *,
    volume: float | None,
    ratio: float | None,
) -> Intervention:
    """Shift positive neurons one way along their activation and negative ones the other way.

    Parameters
    ----------
    neurons : two lists of (layer, index)
    signs : two float
        Which way: 1 is away from 0.
    changes : two lists of float, or None
        How far, neuron by neuron.
    volume, ratio : float, optional
        How far every neuron, in units of the activation, or as a part of it; ``volume`` first.

    Raises
    ------
    ValueError
        A negative size, none, or changes of another number than neurons.
    """
    lists = [_pairs(*one) for one in zip(("pos", "neg"), neurons, strict=True)]
    pairs = np.concatenate(lists)
    way = np.repeat(signs, [len(own) for own in lists])
    if any(own is not None for own in changes):
        if volume is not None:
            raise ValueError("change_volume and changes of each neuron exclude each other")
        return Intervention(pairs, way * _each(lists, changes))
    if volume is not None:
        size = check_number("change_volume", volume, _SIZE, above=_JUST_BELOW_0)
        return Intervention(pairs, way * size)
    size = check_number("change_ratio", ratio, _SIZE, above=_JUST_BELOW_0)
    return Intervention(pairs, way * size, axis="scale")


def _pairs(name: str, given: Any) -> np.ndarray:
    """Neurons [n, 2] of one list, which may be empty."""
    with suppress(ValueError):  # rows of different lengths
        if isinstance(given, list | tuple | np.ndarray | Tensor) and np.ndim(given):
            array = np.asarray(given)
            if array.size == 0:
                return np.empty((0, 2), np.int64)
            if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "iu":
                return array.astype(np.int64)
    raise ValueError(f"{name}_neurons is {shown(given)}; expected a list of (layer, index)")


def _each(lists: Sequence[np.ndarray], changes: tuple[Any, Any]) -> np.ndarray:
    """Sizes of all neurons, in one array."""
    sizes: list[np.ndarray] = []
    for name, own, given in zip(("pos", "neg"), lists, changes, strict=True):
        called = f"{name}_changes"
        size = np.empty(0) if given is None else check_shifts(given, torch.float64, called)
        if len(size) != len(own) or (size < 0).any():
            raise ValueError(
                f"{called} are {size.tolist()} for {len(own)} {name}_neurons; expected as many "
                "sizes of 0 or more"
            )
        sizes.append(size)
    return np.concatenate(sizes)
