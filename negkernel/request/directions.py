"""Directions in the residual stream as users give them: checked, and matched to a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel.arguments import check_choice
from negkernel.request.numbers import NeuronIndexError, integers, numbers

PLACES = ("residual", "mlp_out", "attention_out")


@dataclass(frozen=True, eq=False)
class Directions:
    """Vectors to shift along, in place of neurons: a shift of s adds s times the vector.

    Where a vector is added, at the shifted token:

    - ``"residual"``: the output of the layer's module, which the next layer reads; in post-norm
      models (BERT) after the layer's last norm;
    - ``"mlp_out"``: the output of the down projection, before any norm or factor that the family
      lets follow (Gemma 2 and 3, OLMo 2, BERT, Granite);
    - ``"attention_out"``: the output of the attention's output projection, likewise.

    Its activation in such a tensor x is the coordinate ``<x, v> / <v, v>``, so that the axis
    "value" with 0 projects the direction out. A direction carries its own sign: the axis
    "magnitude" is read as "signed".

    Attributes
    ----------
    layers : int array [N], or one int for all
    vectors : float array [N, H]
    at : {"residual", "mlp_out", "attention_out"}

    Raises
    ------
    ValueError
        Sizes that disagree, a vector of zeros, NaN or infinity.
    """

    layers: np.ndarray
    vectors: np.ndarray
    at: str = "residual"

    def __post_init__(self) -> None:
        vectors = numbers(self.vectors, "a direction's vectors")
        if vectors.ndim != 2 or not vectors.size:
            raise ValueError(
                f"directions have vectors of shape {list(vectors.shape)}; expected [N, H], N >= 1"
            )
        layers = integers(self.layers, "a direction's layers")
        if layers.ndim and layers.shape != (len(vectors),):
            raise ValueError(
                f"{len(vectors)} directions have layers of shape {list(layers.shape)}; expected "
                f"[{len(vectors)}]"
            )
        for n in np.flatnonzero(~vectors.any(axis=1))[:1]:
            raise ValueError(f"direction {n} is all zeros; expected one that points somewhere")
        check_choice("at", self.at, PLACES)
        object.__setattr__(self, "layers", np.broadcast_to(layers, len(vectors)))
        object.__setattr__(self, "vectors", vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def pairs(self) -> np.ndarray:
        """(layer, index among these directions) of each, int64 [N, 2]."""
        return np.stack([self.layers, np.arange(len(self))], axis=1)

    @property
    def digest(self) -> str:
        """Digest of what they are."""
        arrays = np.asarray(self.layers, np.int64), np.asarray(self.vectors, np.float64)
        content = self.at.encode() + b"".join(array.tobytes() for array in arrays)
        return hashlib.sha256(content).hexdigest()

    @property
    def within(self) -> np.ndarray:
        """(layer, index among these directions in that layer) of each, int64 [N, 2]."""
        order = np.argsort(self.layers, kind="stable")
        first = np.searchsorted(self.layers[order], self.layers[order])
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self)) - first
        return np.stack([self.layers, rank], axis=1)

    def take(self, index: Any) -> Directions:
        """Those at ``index``."""
        return Directions(self.layers[index], self.vectors[index], self.at)

    @staticmethod
    def joined(several: Sequence[Directions]) -> Directions:
        """Put directions at one place one after the other."""
        layers = np.concatenate([one.layers for one in several])
        vectors = np.concatenate([one.vectors for one in several])
        return Directions(layers, vectors, several[0].at)

    def by_layer(self, n_layers: int, hidden: int, dtype: torch.dtype) -> dict[int, Tensor]:
        """Vectors [n, H] float64 of each layer that has some, for a model of these sizes.

        Raises
        ------
        ValueError, NeuronIndexError
            Another width, a layer that there is not, or numbers that ``dtype`` cannot square.
        """
        if self.vectors.shape[1] != hidden:
            raise ValueError(
                f"directions have {self.vectors.shape[1]} numbers each; expected this model's "
                f"hidden size {hidden}"
            )
        for n in np.flatnonzero((self.layers < 0) | (self.layers >= n_layers))[:1]:
            raise NeuronIndexError(
                f"direction {n}: layer {self.layers[n]} is out of range; expected "
                f"0 <= layer < {n_layers}"
            )
        size, limits = np.abs(self.vectors).max(axis=1), torch.finfo(dtype)
        for n in np.flatnonzero((size > limits.max**0.5 * 1e-3) | (size < limits.tiny**0.5))[:1]:
            raise ValueError(
                f"direction {n} has numbers up to {size[n]:g}, which {dtype} cannot compute with; "
                "expected a vector of moderate length"
            )
        return {
            int(layer): torch.from_numpy(self.vectors[self.layers == layer])
            for layer in np.unique(self.layers)
        }
