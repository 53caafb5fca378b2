"""Score orders of many prompts and neurons: one code each, and a sparse exact list of ties.

For Llama2-7B, 6,000 prompts and 4 labels the float scores take 34 GB and the codes 2.1 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurgrad.features.orders import (
    code_dtype,
    encode_orders,
    equal_neighbours,
    ordinal_scores,
    strict_ordinals,
)

BLOCK_BYTES = 1 << 25  # scratch of one block: large beside numpy's overhead, small beside memory


def row_blocks(n_rows: int, row_bytes: int) -> Iterator[slice]:
    """Consecutive slices of rows, each about `BLOCK_BYTES` and at least one row."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


class OrderStore(Protocol):
    """What the probes need of a store of score orders, in memory or in shards on disk."""

    @property
    def n_prompts(self) -> int:
        """Q."""

    @property
    def n_labels(self) -> int:
        """K."""

    @property
    def n_neurons(self) -> int:
        """N."""

    def blocks(self) -> Iterator[tuple[slice, PackedScores]]:
        """Blocks of consecutive prompts that cover the store once, each with its rows."""


@dataclass(frozen=True)
class Ties:
    """Entries whose order is not strict, sorted by prompt and then neuron.

    Attributes
    ----------
    prompt, neuron : int32 array [T]
    equal : uint8 array [T]
        Which neighbours in the entry's order are equal, see `orders.equal_neighbours`.
    """

    prompt: NDArray[np.int32]
    neuron: NDArray[np.int32]
    equal: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.prompt)

    def where(self, keep: NDArray[np.bool_]) -> Ties:
        """Return the entries that `keep` [T] marks."""
        return Ties(self.prompt[keep], self.neuron[keep], self.equal[keep])


@dataclass(frozen=True, eq=False)
class PackedScores:
    """Order of the K label scores and zero for every prompt and neuron.

    Attributes
    ----------
    codes : uint8 (K <= 4) or uint16 array [Q, N]
        Order codes of `orders.encode_orders`; a `numpy.memmap` serves as well.
    n_labels : int
        K.
    ties : Ties
        The entries that hold exact zeros or equal scores.
    """

    codes: NDArray
    n_labels: int
    ties: Ties

    @classmethod
    def encode(cls, scores: ArrayLike) -> PackedScores:
        """Pack float scores [Q, K, N], block by block.

        Raises
        ------
        ValueError
            Not three axes, K outside 2..7, or a score that is NaN or infinite.
        """
        scores = np.asanyarray(scores)
        if scores.ndim != 3:
            raise ValueError(
                f"scores have shape {scores.shape}; expected [prompts, labels, neurons]"
            )
        Q, K, N = scores.shape
        codes = np.empty((Q, N), code_dtype(K))
        ties: list[Ties] = []
        for rows in row_blocks(Q, K * N * scores.itemsize):
            block = scores[rows]
            check_finite(block)
            codes[rows], tied = encode_orders(block)
            prompt, neuron = np.nonzero(tied)
            equal = equal_neighbours(block[prompt, :, neuron])
            prompt += rows.start
            ties.append(Ties(prompt.astype(np.int32), neuron.astype(np.int32), equal))
        return cls(codes, K, _concatenate(ties))

    @property
    def n_prompts(self) -> int:
        """Q."""
        return self.codes.shape[0]

    @property
    def n_neurons(self) -> int:
        """N."""
        return self.codes.shape[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, K, N), the shape of the scores that were packed."""
        return (self.n_prompts, self.n_labels, self.n_neurons)

    def __len__(self) -> int:
        return self.n_prompts

    def __getitem__(self, rows: Any) -> PackedScores:
        """Return the chosen prompts: a slice, indices or a mask (scikit-learn adds an ellipsis)."""
        if isinstance(rows, tuple) and len(rows) == 2 and rows[1] is Ellipsis:
            rows = rows[0]
        index = np.atleast_1d(np.arange(self.n_prompts)[rows])
        if index.ndim != 1:
            raise IndexError(f"PackedScores are indexed by prompt only, got {rows!r}")
        first = np.searchsorted(self.ties.prompt, index, side="left")
        count = np.searchsorted(self.ties.prompt, index, side="right") - first
        row = np.repeat(np.arange(len(index)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        entry = np.repeat(first, count) + within
        ties = Ties(row.astype(np.int32), self.ties.neuron[entry], self.ties.equal[entry])
        codes = self.codes[rows] if isinstance(rows, slice) else self.codes[index]
        return PackedScores(codes, self.n_labels, ties)

    def columns(self, neurons: NDArray[np.integer]) -> PackedScores:
        """Return the chosen, distinct neurons, in the given order."""
        place = np.full(self.n_neurons, -1, np.int32)
        place[neurons] = np.arange(len(neurons))
        neuron = place[self.ties.neuron]
        entry = np.flatnonzero(neuron >= 0)
        entry = entry[np.lexsort((neuron[entry], self.ties.prompt[entry]))]
        ties = Ties(self.ties.prompt[entry], neuron[entry], self.ties.equal[entry])
        return PackedScores(self.codes[:, neurons], self.n_labels, ties)

    def blocks(self) -> Iterator[tuple[slice, PackedScores]]:
        """Blocks of consecutive prompts that cover the store once, each with its rows."""
        for rows in row_blocks(self.n_prompts, self.n_neurons * self.codes.itemsize):
            yield rows, self[rows]

    def tie_ordinals(self) -> NDArray[np.int8]:
        """Ordinal scores [T, K] of the entries in `ties`."""
        codes = self.codes[self.ties.prompt, self.ties.neuron]
        return ordinal_scores(codes, self.ties.equal, self.n_labels)

    def ordinals(self) -> NDArray[np.int8]:
        """Integers [Q, K, N] in the order of the scores, above, at and below zero as they were."""
        return self._decode(lambda ordinal: ordinal)

    def signs(self) -> NDArray[np.int8]:
        """Sign of every score: -1, 0 or 1, [Q, K, N]."""
        return self._decode(np.sign)

    def argmax(self) -> NDArray[np.int8]:
        """Label of the highest score, the lowest label among equals, [Q, N]."""
        return self._decode(lambda ordinal: ordinal.argmax(axis=1).astype(np.int8))

    def argmin(self) -> NDArray[np.int8]:
        """Label of the lowest score, the lowest label among equals, [Q, N]."""
        return self._decode(lambda ordinal: ordinal.argmin(axis=1).astype(np.int8))

    def rank(self, labels: ArrayLike) -> NDArray[np.int8]:
        """Return how many labels score strictly above the given one (0 is the top), [Q, N].

        Parameters
        ----------
        labels : int array [Q]
            Label of each prompt, usually the gold one.
        """
        index = np.asarray(labels)
        if index.shape != (self.n_prompts,):
            raise ValueError(
                f"labels have shape {index.shape}; expected one a prompt, ({self.n_prompts},)"
            )
        ranks = self._decode(
            lambda ordinal: (ordinal[:, None, :] > ordinal[:, :, None]).sum(axis=2, dtype=np.int8)
        )
        return np.take_along_axis(ranks, index[:, None, None], axis=1)[:, 0]

    def _decode(self, function: Callable[[NDArray[np.int8]], NDArray[np.int8]]) -> NDArray[np.int8]:
        """Evaluate a function of ordinal scores [T, K] once a code, look it up, correct ties."""
        values = function(strict_ordinals(self.n_labels))[self.codes]
        values[self.ties.prompt, self.ties.neuron] = function(self.tie_ordinals())
        return np.moveaxis(values, 2, 1) if values.ndim == 3 else values


def join(parts: Sequence[PackedScores]) -> PackedScores:
    """Score orders of several lists of prompts, one after the other."""
    first = np.cumsum([0, *(part.n_prompts for part in parts)])
    ties = [
        Ties((part.ties.prompt + start).astype(np.int32), part.ties.neuron, part.ties.equal)
        for part, start in zip(parts, first, strict=False)
    ]
    codes = np.concatenate([part.codes for part in parts])
    return PackedScores(codes, parts[0].n_labels, _concatenate(ties))


def check_finite(scores: NDArray) -> None:
    """Refuse scores that have no order.

    Raises
    ------
    ValueError
        A score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        refuse_unordered()


def refuse_unordered() -> NoReturn:
    """Raise the ValueError about scores that are NaN or infinite."""
    raise ValueError(
        "the scores contain NaN or infinity, which have no order or no sign; "
        "drop those prompts or collect the gradients in a wider dtype"
    )


def _concatenate(parts: list[Ties]) -> Ties:
    if not parts:
        return Ties(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint8))
    return Ties(
        np.concatenate([part.prompt for part in parts]),
        np.concatenate([part.neuron for part in parts]),
        np.concatenate([part.equal for part in parts]),
    )
