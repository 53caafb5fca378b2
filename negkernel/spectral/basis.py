"""Choose nested nodes among the caller's shifts, and the polynomials that go through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Intervals between Chebyshev-Lobatto points; each level's points contain the last one's.
LEVELS = (2, 4, 8, 16, 32, 64)

# Nodes are used while their interpolation amplifies what is at the nodes by no more than this.
AMPLIFICATION = 8.0


@dataclass(frozen=True)
class Level:
    """Interpolation with the nodes of one level and of all before it.

    The interpolant is ``p(x) = slope * x + x^2 q(x)`` where the curve is 0 at 0 with a known
    slope, and an ordinary polynomial where it is not.

    Attributes
    ----------
    nodes : ndarray [m]
        All nodes, those of earlier levels first; each is one of the caller's shifts.
    n_new : int
        How many of them, at the end, are new.
    at_shifts : ndarray [J, m]
        Values at the nodes -> values at the caller's shifts.
    slope_at_shifts : ndarray [J]
        What a slope of 1 adds to them.
    """

    nodes: np.ndarray
    n_new: int
    at_shifts: np.ndarray
    slope_at_shifts: np.ndarray

    @property
    def amplification(self) -> float:
        """Largest factor by which errors at the nodes enter the curve."""
        return float(np.abs(self.at_shifts).sum(axis=1).max())

    def curve(self, values: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Interpolate ``values`` [..., m] with ``slope`` [...] to the shifts: [..., J]."""
        return values @ self.at_shifts.T + slope[..., None] * self.slope_at_shifts


def levels(shifts: np.ndarray, *, pinned: bool) -> Iterator[Level]:
    """Yield levels for ``shifts`` [J], coarse to fine.

    Nodes are the shifts nearest to Chebyshev-Lobatto points of the range, so that a row serves a
    level and, where no level resolves a curve, the grid. Levels end where two points have the same
    nearest shift, or where the shifts lie so unevenly that interpolation would amplify errors.

    Parameters
    ----------
    shifts : ndarray [J]
    pinned : bool
        The curve is 0 at 0, with a known slope; the range then includes 0, which is no node, and
        nodes keep clear of it, where they would be of no use beside the slope.
    """
    x = shifts.astype(np.float64)
    candidates = np.unique(x[x != 0] if pinned else x)
    if len(candidates) < 3:
        return
    low, high = float(candidates[0]), float(candidates[-1])
    if pinned:
        low, high = min(low, 0.0), max(high, 0.0)
    seen = np.empty(0)
    for intervals in LEVELS:
        points = 0.5 * (high + low) - 0.5 * (high - low) * np.cos(
            np.pi * np.arange(intervals + 1) / intervals
        )
        if pinned:
            points = points[np.abs(points) > 0.5 * (high - low) / intervals]
        nearest = np.abs(candidates - points[:, None]).argmin(axis=1)
        nodes = np.unique(np.concatenate([seen, candidates[nearest]]))
        new = nodes[~np.isin(nodes, seen)]
        if len(np.unique(nearest)) < len(nearest) or len(nodes) >= len(candidates):
            return
        seen = np.concatenate([seen, new])
        level = _level(seen, len(new), x, pinned)
        if level.amplification > AMPLIFICATION:
            return
        yield level


def _level(nodes: np.ndarray, n_new: int, x: np.ndarray, pinned: bool) -> Level:
    at_shifts = _lagrange(nodes, x)
    slope_at_shifts = np.zeros_like(x)
    if pinned:
        at_shifts *= (x[:, None] / nodes) ** 2
        slope_at_shifts = x - at_shifts @ nodes
    return Level(nodes, n_new, at_shifts, slope_at_shifts)


def _lagrange(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lagrange polynomials of ``nodes`` [m] at ``x`` [J]: [J, m], in barycentric form."""
    scaled = (nodes[:, None] - nodes) / (0.25 * np.ptp(nodes))  # keeps 64 factors near 1
    np.fill_diagonal(scaled, 1.0)
    weight = 1.0 / scaled.prod(axis=1)
    distance = x[:, None] - nodes
    hit = distance == 0
    terms = weight / np.where(hit, 1.0, distance)
    there = hit.any(axis=1, keepdims=True)  # at a node, where the sum of the terms may cancel
    values = terms / np.where(there, 1.0, terms.sum(axis=1, keepdims=True))
    return np.where(there, hit, values)
