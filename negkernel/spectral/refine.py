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
    curve = np.zeros((n, K, len(x)))
    before = None
    if slope is not None:
        slope = slope.astype(np.float64)
        before = slope[..., None] * x
    truncation, height = np.full((n, K), np.inf), np.zeros((n, K))
    rows = np.zeros(n, dtype=np.int64)
    values = np.empty((n, K, 0))
    todo = np.arange(n)
    order = 0
    for level in levels(shifts, pinned=slope is not None):
        new = level.nodes[-level.n_new :]
        fresh = evaluate(todo, np.broadcast_to(new.astype(shifts.dtype), (len(todo), len(new))))
        values = np.concatenate([values, fresh.transpose(0, 2, 1)], axis=-1)
        rows[todo] += len(new)
        here = np.abs(values).max(-1)
        height[todo] = here
        own = np.zeros((len(todo), K)) if slope is None else slope[todo]
        found = level.curve(values, own)
        scale = np.where(here > 0, here, 1.0)
        if slope is not None and not order and level.nodes[0] == -level.nodes[-1]:
            error = estimate.first_truncation(values, own, level.nodes[0], scale)
        elif before is None:
            error = np.full_like(here, np.inf)
        else:
            difference = np.abs(found - before).max(-1)
            error = estimate.truncation(difference, scale, level.order / (order or 2))
        error = np.where((here > 0) | (np.abs(found).max(-1) > 0), error, 0.0)
        curve[todo], truncation[todo] = found, error
        floor = estimate.rounding(height, base_logprob, eps, noise)[todo]
        wanted = np.minimum(tol * here, estimate.slope_tolerance(x, found, tol))
        left = (error > np.maximum(wanted, floor)).any(-1)
        todo, values, before, order = todo[left], values[left], found[left], level.order
        if not len(todo):
            break
    if len(todo):
        at = shifts[x != 0] if slope is not None else shifts
        exact = evaluate(todo, np.broadcast_to(at, (len(todo), len(at)))).transpose(0, 2, 1)
        curve[todo] = 0.0
        curve[np.ix_(todo, np.arange(K), np.isin(shifts, at))] = exact
        truncation[todo], rows[todo] = 0.0, rows[todo] + len(at)
        height[todo] = np.abs(exact).max(-1, initial=0.0)
    return Curves(curve, truncation + estimate.rounding(height, base_logprob, eps, noise), rows)
