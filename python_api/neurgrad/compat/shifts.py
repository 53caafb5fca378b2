"""Turn lists of positive and negative neurons into one intervention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from negkernel import Intervention
from negkernel.arguments import check_number

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
    pairs = np.array([*neurons[0], *neurons[1]], dtype=np.int64).reshape(-1, 2)
    way = np.repeat(signs, [len(own) for own in neurons])
    if any(own is not None for own in changes):
        if volume is not None:
            raise ValueError("change_volume and changes of each neuron exclude each other")
        return Intervention(pairs, way * _each(neurons, changes))
    if volume is not None:
        size = check_number("change_volume", volume, _SIZE, above=_JUST_BELOW_0)
        return Intervention(pairs, way * size)
    size = check_number("change_ratio", ratio, _SIZE, above=_JUST_BELOW_0)
    return Intervention(pairs, way * size, axis="scale")


def _each(neurons: Sequence[Sequence[Any]], changes: tuple[Any, Any]) -> np.ndarray:
    """Sizes of all neurons, in one array."""
    sizes: list[np.ndarray] = []
    for name, own, given in zip(("pos", "neg"), neurons, changes, strict=True):
        size = np.atleast_1d(np.asarray(torch.as_tensor([] if given is None else given).cpu()))
        if size.shape != (len(own),) or not (size >= 0).all():
            raise ValueError(
                f"{name}_changes are {size.tolist()} for {len(own)} {name}_neurons; expected as "
                "many sizes of 0 or more"
            )
        sizes.append(size.astype(np.float64))
    return np.concatenate(sizes)
