"""Nested nodes in the range of shifts, and the polynomials that go through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Intervals between Chebyshev-Lobatto points; each level's points contain the last one's.
LEVELS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Level:
    """Interpolation with the nodes of one level and of all before it.

    The interpolant is ``p(x) = slope * x + x^2 q(x)`` where the curve is 0 at 0 with a known
    slope, and an ordinary polynomial where it is not.

    Attributes
    ----------
    nodes : ndarray [m]
        All nodes, those of earlier levels first.
    n_new : int
        How many of them, at the end, are new.
    order : int
        Number of conditions the polynomial meets.
    at_shifts : ndarray [J, m]
        Values at the nodes -> values at the caller's shifts.
    slope_at_shifts : ndarray [J]
        What a slope of 1 adds to them.
    """

    nodes: np.ndarray
    n_new: int
    order: int
    at_shifts: np.ndarray
    slope_at_shifts: np.ndarray

    def curve(self, values: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Interpolate ``values`` [..., m] with ``slope`` [...] to the shifts: [..., J]."""
        return values @ self.at_shifts.T + slope[..., None] * self.slope_at_shifts


def levels(shifts: np.ndarray, *, pinned: bool) -> Iterator[Level]:
    """Yield levels for ``shifts`` [J], coarse to fine, while they are fewer than the shifts.

    Parameters
    ----------
    shifts : ndarray [J]
        Nodes are rounded to its dtype, so that the model is asked for exactly these.
    pinned : bool
        The curve is 0 at 0, with a known slope. Nodes then lie in the smallest range around 0
        that holds the shifts and is symmetric, or one-sided where they are; a node near 0 but not
        at it would be of no use beside the slope.
    """
    low, high = float(shifts.min()), float(shifts.max())
    if pinned:
        radius = max(-low, high)
        low, high = -radius if low < 0 else 0.0, radius if high > 0 else 0.0
    if low == high:
        return
    x = shifts.astype(np.float64)
    seen = np.empty(0)
    for intervals in LEVELS:
        unit = np.cos(np.pi * np.arange(intervals + 1) / intervals)
        unit[intervals // 2] = 0.0  # the cosine misses it by a rounding
        points = (0.5 * (high + low) + 0.5 * (high - low) * unit).astype(shifts.dtype)
        points = points.astype(np.float64)
        if pinned:
            points = points[points != 0]
        new = points[~np.isin(points, seen)]
        if len(seen) + len(new) >= np.count_nonzero(x):
            return
        seen = np.concatenate([seen, new])
        at_shifts = _lagrange(seen, x)
        slope_at_shifts = np.zeros_like(x)
        if pinned:
            at_shifts *= (x[:, None] / seen) ** 2
            slope_at_shifts = x - at_shifts @ seen
        yield Level(
            nodes=seen,
            n_new=len(new),
            order=len(seen) + 2 * pinned,
            at_shifts=at_shifts,
            slope_at_shifts=slope_at_shifts,
        )


def _lagrange(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lagrange polynomials of ``nodes`` [m] at ``x`` [J]: [J, m], in barycentric form."""
    scaled = (nodes[:, None] - nodes) / (0.25 * np.ptp(nodes))  # keeps 64 factors near 1
    np.fill_diagonal(scaled, 1.0)
    weight = 1.0 / scaled.prod(axis=1)
    distance = x[:, None] - nodes
    hit = distance == 0
    terms = weight / np.where(hit, 1.0, distance)
    values = terms / terms.sum(axis=1, keepdims=True)
    return np.where(hit.any(axis=1, keepdims=True), hit, values)
