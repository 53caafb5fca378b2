"""Shift a layer's output, or what its attention or MLP adds, along directions of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from negkernel.families.feed_forward import FeedForward
from negkernel.families.feed_forward import Site as Catch
from negkernel.sites.site import Site


class Direction(Site):
    """Directions at one tensor of each layer; the "neuron" is the coordinate along a direction.

    The activation of a direction v in a tensor x is its coordinate ``<x, v> / <v, v>``; a shift of
    it by s adds ``s v``.

    Parameters
    ----------
    at : {"attention_out", "mlp_out", "residual"}
    vectors : list of L Tensor [n, H] float64
        Directions of each layer.
    catches : list
        Where hooks catch the coordinates.
    """

    def __init__(self, at: str, vectors: list[Tensor], catches: list[Catch]):
        self.name = self.stage = at
        self.vectors = vectors
        self.catches = catches
        self._cast: dict[int, Tensor] = {}

    def widths(self, feed_forwards: Sequence[FeedForward]) -> np.ndarray:
        """See :class:`Site`."""
        return np.array([len(one) for one in self.vectors])

    def caught(self, feed_forwards: Sequence[FeedForward]) -> list[Catch]:
        """See :class:`Site`."""
        return self.catches

    def check(self, axis: str, amounts: np.ndarray | None = None) -> str:
        """See :class:`Site`: a direction carries its sign, so "magnitude" is "signed"."""
        return "signed" if axis == "magnitude" else axis

    def of(self, layer: int, like: Tensor) -> Tensor:
        """Return a layer's directions [n, H] in the dtype and on the device of ``like``."""
        known = self._cast.get(layer)
        if known is None or (known.dtype, known.device) != (like.dtype, like.device):
            known = self._cast[layer] = self.vectors[layer].to(like)
        return known


def coordinates(x: Tensor, vectors: Tensor) -> Tensor:
    """Coordinates [..., n] of ``x`` [..., H] along each of ``vectors`` [n, H]."""
    size = torch.linalg.vector_norm(vectors, dim=-1)  # squared, tiny ones would underflow
    return (x @ (vectors / size[:, None]).t()) / size
