"""Give what is summed over prompts an interval, by drawing the prompts again.

Neurons of one prompt share its probability and are no independent draws: prompts are drawn, with
all that was measured on them. A statistic is a function of sums over prompts, so a thousand draws
are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000
LEVEL = 0.95

Statistic = Callable[[NDArray], NDArray]
"""Sums [..., S] -> values [...]."""


class Interval(NamedTuple):
    """A value and the limits of its 95 % interval, NaN where one prompt says nothing of them."""

    value: float
    low: float
    high: float


def interval(sums: ArrayLike, statistic: Statistic, *, seed: int = 0) -> Interval:
    """Bootstrap a statistic over prompts.

    Parameters
    ----------
    sums : array [P, S]
        What each prompt adds to each sum.
    statistic : callable
        Function of the sums.
    """
    own = np.asarray(sums, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(own.sum(0)))
        if len(own) < 2:
            return Interval(value, np.nan, np.nan)
        drawn = np.random.default_rng(seed).multinomial(
            len(own), np.full(len(own), 1 / len(own)), size=DRAWS
        )
        found = statistic(drawn @ own)
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(found, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def mean(values: ArrayLike, counts: ArrayLike | None = None) -> Interval:
    """Mean of what prompts have: values [P], or their sums [P] with counts [P]."""
    total = np.asarray(values, dtype=np.float64)
    n = np.ones_like(total) if counts is None else np.asarray(counts, dtype=np.float64)
    return interval(np.stack([total, n], axis=1), lambda sums: sums[..., 0] / sums[..., 1])


def correlation(x: NDArray, y: NDArray) -> Interval:
    """Pearson's r of all pairs at once, x and y [P, N]."""
    x, y = (_standard(np.asarray(values, dtype=np.float64)) for values in (x, y))
    sums = [np.ones_like(x), x, y, x * x, y * y, x * y]
    return interval(np.stack([one.sum(1) for one in sums], axis=1), _pearson)


def _standard(values: NDArray) -> NDArray:
    """Take mean and size off, so that sums of squares keep their digits."""
    centred = values - values.mean()
    return centred / (np.abs(centred).max() or 1.0)


def _pearson(sums: NDArray) -> NDArray:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    r = (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))
    return np.asarray(np.clip(r, -1, 1))
