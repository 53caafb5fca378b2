"""Refine curves level by level, only those that a rule does not find resolved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from negkernel.spectral import estimate
from negkernel.spectral.basis import levels
from negkernel.spectral.rules import CurveRule, Rule, Seen

# (curves [n] int64, shifts [n, m]) -> log-prob differences [n, m, K]
Evaluate = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Accuracy:
    """How exact curves are wanted, and can be.

    Attributes
    ----------
    tol : float
        Relative tolerance.
    eps : float
        Relative rounding of one evaluation.
    noise : float
        Its absolute rounding, in nats.
    typical : ndarray [n, K], optional
        Height of a curve of each one's kind, by default the median of those refined together.
    """

    tol: float
    eps: float
    noise: float = 0.0
    typical: np.ndarray | None = None

    def of(self, which: np.ndarray) -> Accuracy:
        """Accuracy of some of the curves."""
        return self if self.typical is None else replace(self, typical=self.typical[which])

    def rounding(self, height: np.ndarray, base_logprob: np.ndarray) -> np.ndarray:
        """Rounding of curves [n, K], see :func:`estimate.rounding`."""
        return estimate.rounding(height, base_logprob, self.eps, self.noise, self.typical)


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
    neg_error : ndarray [n, K]
        Estimate of NEG's error, where the rule has one.
    first : ndarray [n, K, m]
        Values at the nodes of the first level; m is 0 where there is none.
    """

    values: np.ndarray
    error: np.ndarray
    rows: np.ndarray
    neg_error: np.ndarray
    first: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Curves]) -> Curves:
        """Curves of several calls, one after the other."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def __getitem__(self, chosen: np.ndarray) -> Curves:
        return Curves(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def refine(
    evaluate: Evaluate,
    slope: np.ndarray | None,
    base_logprob: np.ndarray,
    shifts: np.ndarray,
    accuracy: Accuracy,
    rule: Rule | None = None,
) -> Curves:
    """Compute n curves at ``shifts``, level by level, until a rule finds them resolved.

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
    accuracy : Accuracy
    rule : callable, optional
        By default :class:`~negkernel.spectral.rules.CurveRule`.

    Returns
    -------
    Curves
        Curves that no level brings there are computed at the caller's shifts themselves.
    """
    rule = CurveRule(accuracy.tol) if rule is None else rule
    n, K = base_logprob.shape
    x = shifts.astype(np.float64)
    pinned = slope is not None
    slope = np.zeros((n, K)) if slope is None else slope.astype(np.float64)
    before = slope[..., None] * x if pinned else None
    curve = np.zeros((n, K, len(x)))
    truncation, height, neg_error, neg_rounding = np.zeros((4, n, K))
    rows = np.zeros(n, dtype=np.int64)
    nodes, values = np.empty(0), np.empty((n, K, 0))
    first = values
    amplification = 1.0
    todo = np.arange(n)
    for level in levels(shifts, pinned=pinned):
        values = _extended(evaluate, todo, level.nodes[-level.n_new :], values, shifts.dtype)
        first = first if len(nodes) else values
        nodes, amplification = level.nodes, level.amplification
        rows[todo] += level.n_new
        height[todo] = np.abs(values).max(-1)
        found = level.curve(values, slope[todo])
        curve[todo] = found
        if before is not None:
            floor = accuracy.rounding(height, base_logprob)[todo]
            verdict = rule(Seen(level, x, todo, values, slope[todo], before, found, floor))
            truncation[todo] = verdict.truncation
            neg_error[todo], neg_rounding[todo] = verdict.neg_truncation, verdict.neg_rounding
            more = verdict.more
            todo, values, found = todo[more], values[more], found[more]
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
        curve[todo], truncation[todo], neg_error[todo] = exact, 0.0, 0.0
        rows[todo] += len(rest)
        height[todo] = np.abs(exact).max(-1, initial=0.0)
    floor = accuracy.rounding(height, base_logprob)
    error = truncation + amplification * floor
    return Curves(curve, error, rows, neg_error + neg_rounding, first)


def _extended(
    evaluate: Evaluate, which: np.ndarray, nodes: np.ndarray, values: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Append the curves ``which`` at ``nodes`` to their ``values`` [n, K, m]."""
    fresh = evaluate(which, np.broadcast_to(nodes.astype(dtype), (len(which), len(nodes))))
    return np.concatenate([values, fresh.transpose(0, 2, 1)], axis=-1)
