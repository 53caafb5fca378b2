"""Every neuron's NEG, in portions that can be kept on disk and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from negkernel.methods.base import Opened
from negkernel.request.neurons import every_neuron
from negkernel.request.prompts import Request
from negkernel.results import statistics, storage
from negkernel.results.ledger import Ledger
from negkernel.spectral.opened import CURVES, curves, only

Piece = tuple[int, slice]  # of one prompt, some layers
Group = tuple[int, int]  # first and last + 1 of some prompts

GRID = 100  # shifts of the paper's protocol, zero excluded


def paper_grid(radius: float, dtype: type[np.floating[Any]]) -> np.ndarray:
    """Return the 100 evenly spaced shifts within ``[-radius, radius]``, without 0."""
    grid = np.linspace(-radius, radius, GRID + 1)
    return np.delete(grid, GRID // 2).astype(dtype)


@dataclass(frozen=True)
class Portion:
    """Some layers of one prompt.

    Attributes
    ----------
    prompt : int
    layers : slice
    arrays : dict of str to ndarray
        ``neg``, ``pearson``, ``error`` [K, l, I], ``activation`` [l, I], and
        ``watched_logprob`` [2 K] of the request's ``watched_ids``.
    rows : int
    """

    prompt: int
    layers: slice
    arrays: dict[str, np.ndarray]
    rows: int


def pieces(n_prompts: int, widths: np.ndarray) -> dict[str, Piece]:
    """Cut all neurons of all prompts into the portions that are computed at once, by name."""
    L = len(widths)
    step = max(1, CURVES // int(widths.max()))
    blocks = [slice(first, min(first + step, L)) for first in range(0, L, step)]
    return {
        f"prompt{p:05d}-layers{block.start:03d}-{block.stop:03d}": (p, block)
        for p in range(n_prompts)
        for block in blocks
    }


class Measure:
    """Computes portions, with one group of prompts open at a time.

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
        Of :func:`negkernel.spectral.opened.curves`.
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

    def __call__(self, piece: Piece) -> Portion:
        """Compute some layers of one prompt."""
        prompt, layers = piece
        one = self._of(prompt)
        layer, index = every_neuron(self.widths[layers]).T
        neurons = np.stack([layers.start + layer, index], axis=1)
        found = curves(one, neurons[None], self._shifts, tol=self._tol, eps=self._eps)
        watched = one.base_logprob[0].numpy()
        base = watched[: len(watched) // 2]
        dp = statistics.prob_shift(base[:, None], found.values)  # [n, K, J]
        measured = {
            "neg": statistics.neg(self._shifts, dp),
            "pearson": statistics.pearson(self._shifts, dp),
            "error": found.error,
        }
        size = dp.shape[1], layers.stop - layers.start, int(self.widths.max())
        arrays = {name: np.full(size, np.nan, base.dtype) for name in measured}
        for name, values in measured.items():
            arrays[name][:, layer, index] = values.T
        arrays["activation"] = one.activation[0, layers].numpy()
        arrays["watched_logprob"] = watched
        return Portion(prompt, layers, arrays, int(found.rows.sum()))

    def _of(self, prompt: int) -> Opened:
        if self._open is None or not self._open[0][0] <= prompt < self._open[0][1]:
            self._open = None  # before the next group takes room
            group = next(group for group in self._groups if group[0] <= prompt < group[1])
            self._open = group, self._compute(group)
        (first, _), opened = self._open
        return only(opened, prompt - first)


def portions(
    pieces: Mapping[str, Piece],
    measure: Measure,
    ledger: Ledger | None,
    progress: bool | None,
) -> Iterator[Portion]:
    """Yield the NEG of all neurons, in any order.

    Parameters
    ----------
    pieces : mapping
        Those of :func:`pieces`.
    ledger : Ledger or None
        Where finished portions are kept, and read instead of computed.
    progress : bool or None
        Show a bar; None shows it on a terminal.
    """
    with tqdm(
        total=len({p for p, _ in pieces.values()}) * len(measure.widths),
        unit="layer",
        desc="NEG",
        disable=None if progress is None else not progress,
    ) as bar:
        names = pieces if ledger is None else ledger.share(pieces, _kept(pieces, measure))
        for name in names:
            prompt, layers = pieces[name]
            if ledger is None:
                yield measure(pieces[name])
            else:
                arrays, described = storage.read(ledger.path(name), "Portion")
                yield Portion(prompt, layers, arrays, described["rows"])
            bar.update(layers.stop - layers.start)


def _kept(
    pieces: Mapping[str, Piece], measure: Measure
) -> Callable[[str], Mapping[str, Callable[[Path], object]]]:
    def compute(name: str) -> Mapping[str, Callable[[Path], object]]:
        found = measure(pieces[name])
        said = {"rows": found.rows}
        return {
            ".safetensors": lambda path: storage.write(path, "Portion", found.arrays, said),
        }

    return compute


def collect(
    portions: Iterable[Portion],
    request: Request,
    widths: np.ndarray,
    dtype: type[np.floating[Any]],
) -> tuple[dict[str, Any], np.ndarray]:
    """Join all portions to the arrays of a :class:`~negkernel.results.NegMap`, and the watched."""
    P, K, L, I = len(request), request.K, len(widths), int(widths.max())
    per_target = {name: np.empty((P, K, L, I), dtype) for name in ("neg", "pearson", "error")}
    activation = np.empty((P, L, I), dtype)
    watched = np.empty((P, 2 * K), dtype)
    rows = 0
    for portion in portions:
        p, found = portion.prompt, portion.arrays
        for name, array in per_target.items():
            array[p, :, portion.layers] = found[name]
        activation[p, portion.layers] = found["activation"]
        watched[p] = found["watched_logprob"]
        rows += portion.rows
    return {
        **{name: request.squeeze(array) for name, array in per_target.items()},
        "base_logprob": request.squeeze(watched[:, :K]),
        "activation": activation,
        "rows": rows,
    }, watched
