"""Tell from a layer's shifted neurons what the slope alone leaves out of another neuron's NEG.

Where a shift adds a multiple of one vector to the residual stream, log p is a smooth function along
that vector: its quadratic part grows with the square of the vector's length, its cubic part with
the cube. The factors differ from neuron to neuron, within a layer by some ten times; those that
were shifted show how far. A neuron whose shift reaches so little that even large factors leave its
NEG within the tolerance needs no shifted forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Of a layer's shifted neurons, this share has smaller factors than are allowed for.
QUANTILE = 0.995
# Of fewer shifted neurons such a quantile is a guess.
SHIFTED = 400


@dataclass(frozen=True)
class LeftOut:
    """What slopes alone leave out of n curves, each [n, K].

    ``nats`` of log p at the ends, ``neg`` of NEG and ``r`` of Pearson's r.
    """

    nats: np.ndarray
    neg: np.ndarray
    r: np.ndarray


def factors(ends: np.ndarray, slope: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Quadratic and cubic parts [2, K] of curves over powers of the length of their shifts.

    Parameters
    ----------
    ends : ndarray [n, K, 2]
        Values at both ends of the range.
    slope : ndarray [n, K]
        In nats from 0 to the end.
    length : ndarray [n]
        Of what a shift to the end adds to the residual stream.

    Returns
    -------
    ndarray [2, K]
        Infinite where too few neurons tell of them.
    """
    some = length > 0
    if some.sum() < SHIFTED:
        return np.full((2, slope.shape[1]), np.inf)
    ends, slope, length = ends[some], slope[some], length[some, None]
    even = np.abs(ends.sum(-1)) / 2 / length**2
    odd = np.abs((ends[..., 1] - ends[..., 0]) / 2 - slope) / length**3
    return np.quantile([even, odd], QUANTILE, axis=1)


def left_out(factors: np.ndarray, slope: np.ndarray, length: np.ndarray, u: np.ndarray) -> LeftOut:
    """What n curves with ``factors`` [2, K] have beside their slope; arguments as above.

    ``u`` [J] are the shifts in units of the range. What is left out of log p is at most
    ``e = c2 u^2 + c3 |u|^3``, so that p changes by ``p e^(slope u) (e^e - 1)``, and NEG takes the
    odd part of that; here it is over p and in nats per range.
    """
    line = np.abs(slope[..., None] * u)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        parts = [np.outer(length**power, own) for power, own in zip((2, 3), factors, strict=True)]
        even, odd = (np.where(length[:, None] > 0, part, 0.0) for part in parts)
        e2, e3 = even[..., None] * u**2, odd[..., None] * np.abs(u) ** 3
        moved = e3 * np.cosh(line) + e2 * np.sinh(line)
        moved += (e2 + e3) ** 2 * np.exp(line + e2 + e3)  # above what first order leaves
        neg = moved @ np.abs(u) / (u @ u)
        # A parabola on a line takes 2/15 of the square of their ratio from r.
        r = 2 / 15 * (even / np.where(even > 0, np.abs(slope), 1.0)) ** 2
    return LeftOut(even + odd, *(np.nan_to_num(value, nan=np.inf) for value in (neg, r)))
