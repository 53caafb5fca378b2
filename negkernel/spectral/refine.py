"""Refine curves level by level, only those whose estimated error is above the tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from negkernel.spectral import estimate
from negkernel.spectral.basis import levels

# (curves [n] int64, shifts [n, m]) -> log-prob differences [n, m, K]
Evaluate = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Curves:
    """Curves at the caller's shifts.

    Attributes
    ----------
    values : ndarray [n, K, J]
        Change of log p, float64.
    error : ndarray [n, K]
        Estimate of its largest error over the curve: truncation plus rounding.
    rows : ndarray [n] int64
        Shifted forwards that each curve took.
    """

    values: np.ndarray
    error: np.ndarray
    rows: np.ndarray


def refine(
    evaluate: Evaluate,
    slope: np.ndarray | None,
    base_logprob: np.ndarray,
    shifts: np.ndarray,
    *,
    tol: float,
    eps: float,
    noise: float = 0.0,
) -> Curves:
    """Compute n curves at ``shifts`` to a relative tolerance.

    Parameters
    ----------
    evaluate : callable
        The model: ``evaluate(which [r], shifts [r, m]) -> [r, m, K]``.
    slope : ndarray [n, K] or None
        Slope of each curve at 0. None: the curves are not 0 at 0 (the "value" axis).
    base_logprob : ndarray [n, K]
        Log-prob of the unshifted target.
    shifts : ndarray [J]
        In the dtype that the model computes in.
    tol : float
        A curve is done when its estimated truncation is below ``tol`` times its largest value and
        moves its NEG by less than ``tol`` of itself, or is below the rounding.
    eps : float
        Relative rounding of one evaluation.
    noise : float
        Its absolute rounding, in nats.

    Returns
    -------
    Curves
        Curves that no level brings there are computed at the caller's shifts themselves.
    """
    n, K = base_logprob.shape
    x = shifts.astype(np.float64)
    pinned = slope is not None
    before = None
    if slope is not None:
        slope = slope.astype(np.float64)
        before = slope[..., None] * x
    curve = np.zeros((n, K, len(x)))
    truncation, height = np.zeros((n, K)), np.zeros((n, K))
    rows = np.zeros(n, dtype=np.int64)
    nodes, values = np.empty(0), np.empty((n, K, 0))
    amplification = 1.0
    todo = np.arange(n)
    for level in levels(shifts, pinned=pinned):
        values = _extended(evaluate, todo, level.nodes[-level.n_new :], values, shifts.dtype)
        nodes, amplification = level.nodes, level.amplification
        rows[todo] += level.n_new
        here = np.abs(values).max(-1)
        height[todo] = here
        own = np.zeros((len(todo), K)) if slope is None else slope[todo]
        found = level.curve(values, own)
        curve[todo] = found
        if before is not None:
            difference = np.abs(found - before).max(-1)
            if len(nodes) == 2 and nodes[0] == -nodes[1]:
                scale = np.where(here > 0, here, 1.0)
                difference = estimate.first_difference(values, own, nodes[1], scale)
            error = estimate.CHECK * difference
            floor = estimate.rounding(height, base_logprob, eps, noise)[todo]
            neg, change = estimate.neg_and_change(x, found, before)
            truncation[todo] = error
            left = error > np.maximum(tol * here, floor)
            left |= estimate.CHECK * change > np.maximum(tol * neg, floor * np.abs(x).sum())
            keep = left.any(-1)
            todo, values, found = todo[keep], values[keep], found[keep]
        before = found
        if not len(todo):
            break
    if len(todo):
        every = np.unique(x[x != 0] if pinned else x)
        rest = every[~np.isin(every, nodes)]
        values = _extended(evaluate, todo, rest, values, shifts.dtype)
        order = np.argsort(np.concatenate([nodes, rest]))
        at = np.searchsorted(every, x).clip(max=len(every) - 1)
        exact = values[..., order[at]] * (every[at] == x)
        curve[todo], truncation[todo] = exact, 0.0
        rows[todo] += len(rest)
        height[todo] = np.abs(exact).max(-1, initial=0.0)
    floor = estimate.rounding(height, base_logprob, eps, noise)
    return Curves(curve, truncation + amplification * floor, rows)


def _extended(
    evaluate: Evaluate, which: np.ndarray, nodes: np.ndarray, values: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Append the curves ``which`` at ``nodes`` to their ``values`` [n, K, m]."""
    fresh = evaluate(which, np.broadcast_to(nodes.astype(dtype), (len(which), len(nodes))))
    return np.concatenate([values, fresh.transpose(0, 2, 1)], axis=-1)
