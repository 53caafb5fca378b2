"""The slopes that a result holds, whatever kind of result it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negkernel import Gradients, Sweep
from negkernel.arguments import check_kind


@dataclass(frozen=True)
class Slopes:
    """One slope for each prompt (and target) and neuron, flat.

    Attributes
    ----------
    name : str
        "NEG" or "NeurGrad".
    value, activation : float arrays [M]
    layer : int array [M]
    """

    name: str
    value: np.ndarray
    activation: np.ndarray
    layer: np.ndarray

    @property
    def label(self) -> str:
        """The quantity with its unit."""
        return f"{self.name} (probability / activation)"


def slopes(result: Sweep | Gradients) -> Slopes:
    """Return NEG of a sweep, NeurGrad of gradients."""
    check_kind("result", result, Sweep, Gradients)
    if isinstance(result, Sweep):
        value = result.neg()
        P, N = result.activation.shape
        layers = np.broadcast_to(result.neurons[..., 0], (P, N))
        name, activation = "NEG", result.activation
    else:
        value = result.neurgrad()
        there = ~np.isnan(result.activation).all(axis=0)  # a narrow layer has NaN
        value, activation = value[..., there], result.activation[:, there]
        layers = np.broadcast_to(np.nonzero(there)[0], activation.shape)
        name = "NeurGrad"
    if value.ndim == 3:  # a target axis stands after the prompts
        layers, activation = layers[:, None], activation[:, None]
    return Slopes(
        name=name,
        value=value.ravel(),
        activation=np.broadcast_to(activation, value.shape).ravel(),
        layer=np.broadcast_to(layers, value.shape).ravel(),
    )
