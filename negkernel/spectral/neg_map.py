"""Measure every neuron's NEG, in pieces that are computed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.methods.base import Opened
from negkernel.request.neurons import every_neuron
from negkernel.results import statistics
from negkernel.results.shards import Shard
from negkernel.spectral.opened import CURVES, map_curves, only

Group = tuple[int, int]  # first and last + 1 of some prompts

GRID = 100  # shifts of the paper's protocol, zero excluded


def paper_grid(radius: float, dtype: type[np.floating[Any]]) -> np.ndarray:
    """Return the 100 evenly spaced shifts within ``[-radius, radius]``, without 0."""
    grid = np.linspace(-radius, radius, GRID + 1)
    return np.delete(grid, GRID // 2).astype(dtype)


@dataclass(frozen=True)
class Piece:
    """What was found of some layers of one prompt.

    Attributes
    ----------
    curves : dict of str to ndarray [K, l, I]
        ``neg``, ``pearson``, ``error`` and ``neg_error``.
    activation : ndarray [l, I]
    watched : ndarray [2 K]
        Log-probs of the request's ``watched_ids``.
    rows : ndarray [l, I] int64
    """

    curves: dict[str, np.ndarray]
    activation: np.ndarray
    watched: np.ndarray
    rows: np.ndarray


def joined(pieces: Sequence[Piece]) -> Piece:
    """Put the same layers of prompts with one answer each together as one prompt with K."""
    first = pieces[0]
    return Piece(
        {name: np.concatenate([one.curves[name] for one in pieces]) for name in first.curves},
        first.activation,
        np.concatenate([one.watched.reshape(2, -1) for one in pieces], axis=1).ravel(),
        np.sum([one.rows for one in pieces], axis=0),
    )


def pieces(n_prompts: int, widths: np.ndarray) -> list[Shard]:
    """Cut all neurons of all prompts into what is computed at once: some layers of a prompt."""
    L = len(widths)
    step = max(1, CURVES // int(widths.max()))
    return [
        Shard((p, p + 1), layers=(first, min(first + step, L)))
        for p in range(n_prompts)
        for first in range(0, L, step)
    ]


class Measure:
    """Computes pieces, with one group of prompts open at a time.

    Parameters
    ----------
    groups : list of (int, int)
        Prompts that are taken together, see :meth:`negkernel.methods.base.Method.groups`.
    opened : callable
        Opens a group.
    widths : ndarray [L]
        Neurons of each layer.
    shifts : ndarray [J]
    tol, eps : float
        Of :func:`negkernel.spectral.opened.map_curves`.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        opened: Callable[[Group], Opened],
        widths: np.ndarray,
        shifts: np.ndarray,
        *,
        tol: float,
        eps: float,
    ):
        self._groups, self._compute = groups, opened
        self.widths, self._shifts = widths, shifts
        self._tol, self._eps = tol, eps
        self._open: tuple[Group, Opened] | None = None

    def __call__(self, shard: Shard) -> Piece:
        """Compute some layers of one prompt."""
        assert shard.layers is not None  # as `pieces` makes them
        one, layers = self._of(shard.prompts[0]), slice(*shard.layers)
        layer, index = every_neuron(self.widths[layers]).T
        neurons = np.stack([layers.start + layer, index], axis=1)
        found = map_curves(one, neurons, self._shifts, tol=self._tol, eps=self._eps)
        watched = one.base_logprob[0].numpy()
        base = watched[: len(watched) // 2]
        dp = statistics.prob_shift(base[:, None], found.values)  # [n, K, J]
        measured = {
            "neg": statistics.neg(self._shifts, dp),
            "pearson": statistics.pearson(self._shifts, dp),
            "error": found.error,
            "neg_error": found.neg_error,
        }
        size = dp.shape[1], layers.stop - layers.start, int(self.widths.max())
        arrays = {name: np.full(size, np.nan, base.dtype) for name in measured}
        for name, values in measured.items():
            arrays[name][:, layer, index] = values.T
        rows = np.zeros(size[1:], np.int64)
        rows[layer, index] = found.rows
        return Piece(arrays, one.activation[0, layers].numpy(), watched, rows)

    def _of(self, prompt: int) -> Opened:
        if self._open is None or not self._open[0][0] <= prompt < self._open[0][1]:
            self._open = None  # before the next group takes room
            group = next(group for group in self._groups if group[0] <= prompt < group[1])
            self._open = group, self._compute(group)
        (first, _), opened = self._open
        return only(opened, prompt - first)
