"""Decide which curves are resolved: those of a sweep as curves, those of a map by their NEG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from negkernel.results import statistics
from negkernel.spectral import estimate
from negkernel.spectral.basis import Level


@dataclass(frozen=True)
class Seen:
    """What a level shows of n curves.

    Attributes
    ----------
    level : Level
    shifts : ndarray [J]
    which : ndarray [n] int64
        The curves, among all that are refined together.
    values : ndarray [n, K, m]
        At the level's nodes.
    slope : ndarray [n, K]
        At 0; zeros where curves are not pinned there.
    before, curve : ndarray [n, K, J]
        As the level before has them, and this one.
    rounding : ndarray [n, K]
        Of a value, in nats.
    """

    level: Level
    shifts: np.ndarray
    which: np.ndarray
    values: np.ndarray
    slope: np.ndarray
    before: np.ndarray
    curve: np.ndarray
    rounding: np.ndarray

    @property
    def ends(self) -> float | None:
        """The radius, if both ends of a symmetric range are all that has been computed."""
        nodes = self.level.nodes
        return float(nodes[1]) if len(nodes) == 2 and nodes[0] == -nodes[1] else None


@dataclass(frozen=True)
class Verdict:
    """What a rule says of n curves.

    Attributes
    ----------
    truncation : ndarray [n, K]
        Estimate of the largest one, in nats.
    more : ndarray [n] bool
        Who needs more nodes.
    neg_truncation, neg_rounding : ndarray [n, K]
        The error of NEG, in units of probability per unit of shift; 0 where nobody asked.
    """

    truncation: np.ndarray
    more: np.ndarray
    neg_truncation: np.ndarray | float = 0.0
    neg_rounding: np.ndarray | float = 0.0


Rule = Callable[[Seen], Verdict]


@dataclass(frozen=True)
class CurveRule:
    """A curve's truncation is below ``tol`` of its largest value, and that of its NEG of NEG.

    What is below the rounding is resolved too.
    """

    tol: float

    def __call__(self, seen: Seen) -> Verdict:
        """Judge by how far this level's curves are from those of the level before."""
        here = np.abs(seen.values).max(-1)
        difference = np.abs(seen.curve - seen.before).max(-1)
        if seen.ends is not None:
            scale = np.where(here > 0, here, 1.0)
            difference = estimate.first_difference(seen.values, seen.slope, seen.ends, scale)
        truncation = estimate.CHECK * difference
        left = truncation > np.maximum(self.tol * here, seen.rounding)
        neg, change = estimate.neg_and_change(seen.shifts, seen.curve, seen.before)
        noise = seen.rounding * np.abs(seen.shifts).sum()
        left |= estimate.CHECK * change > np.maximum(self.tol * neg, noise)
        return Verdict(truncation, left.any(-1))


@dataclass(frozen=True)
class NegRule:
    """NEG's truncation is below ``tol`` of itself, or of ``floor`` where that is more.

    Attributes
    ----------
    tol : float
    base_logprob : ndarray [N, K]
        Of all curves that are refined together.
    floor : ndarray [N, K]
        Probability per unit of shift.
    smooth : bool
        Terms go on decaying as both ends show, and NEG converges where it has stopped changing.
        Otherwise curves have to be resolved too.
    alike : bool
        Rounding errors may have the same sign at all nodes, as those of rounded operands have.
    """

    tol: float
    base_logprob: np.ndarray
    floor: np.ndarray
    smooth: bool = False
    alike: bool = False

    def of(self, which: np.ndarray) -> NegRule:
        """Rule of some of the curves."""
        return replace(self, base_logprob=self.base_logprob[which], floor=self.floor[which])

    def __call__(self, seen: Seen) -> Verdict:
        """Judge by the changes of NEG and of r, or by how what both ends show decays."""
        own, strict = self.of(seen.which), CurveRule(self.tol)(seen)
        neg, rounding = own.neg(seen.shifts, seen.curve), own.rounding(seen)
        change, wanted = np.abs(neg - own.neg(seen.shifts, seen.before)), own.wanted(neg)
        if not self.smooth:
            error = np.maximum(estimate.CHECK * change, own.of_curves(seen, strict.truncation))
            more = strict.more
        elif seen.ends is not None:
            error, more = own.ahead(seen, change), np.zeros(len(neg), dtype=bool)
        else:
            error, more = estimate.CHECK * change, own.bends(seen, strict.truncation)
        judged = error if self.smooth else estimate.CHECK * change
        more = more | (judged > np.maximum(wanted - rounding, rounding / 2)).any(-1)
        error = np.maximum(error, estimate.finest(wanted, rounding))
        return Verdict(strict.truncation, more, error, rounding)

    def neg(self, shifts: np.ndarray, curve: np.ndarray) -> np.ndarray:
        """NEG [n, K] of curves [n, K, J] at ``shifts`` [J]."""
        return statistics.neg(shifts, self._prob_shift(curve))

    def wanted(self, neg: np.ndarray) -> np.ndarray:
        """Error [n, K] that is wanted of NEG."""
        return self.tol * np.maximum(np.abs(neg), self.floor)

    def bends(self, seen: Seen, truncation: np.ndarray) -> np.ndarray:
        """Whether Pearson's r has changed by more than the tolerance, and than rounding, [n]."""
        r, before = (
            statistics.pearson(seen.shifts, self._prob_shift(curve))
            for curve in (seen.curve, seen.before)
        )
        moved = estimate.CHECK * np.abs(r - before) > self.tol
        more: np.ndarray = (moved & (truncation > seen.rounding)).any(-1)
        return more

    def ahead(self, seen: Seen, change: np.ndarray) -> np.ndarray:
        """What both ends leave out of NEG [n, K], which they changed by ``change``."""
        assert seen.ends is not None
        nats = estimate.ahead(seen.values, seen.slope, seen.ends)
        return np.maximum(self._top(seen) * nats / seen.ends, estimate.AHEAD * change)

    def of_curves(self, seen: Seen, truncation: np.ndarray) -> np.ndarray:
        """Error of NEG [n, K] where all of a curve may be off by its ``truncation``."""
        x = seen.shifts
        return self._top(seen) * truncation * (np.abs(x).sum() / (x @ x))

    def rounding(self, seen: Seen) -> np.ndarray:
        """Error of NEG [n, K] from those of the slope and of values at the nodes."""
        x, level = seen.shifts, seen.level
        weights = np.append(x @ level.at_shifts, x @ level.slope_at_shifts / np.abs(x).max())
        together = np.abs(weights).sum() if self.alike else np.linalg.norm(weights)
        return self._top(seen) * seen.rounding * together / (x @ x)

    def _prob_shift(self, curve: np.ndarray) -> np.ndarray:
        return statistics.prob_shift(self.base_logprob[..., None], curve)

    def _top(self, seen: Seen) -> np.ndarray:
        """Largest probability along each curve [n, K]."""
        peak = np.maximum(seen.curve.max(-1), 0.0)
        return np.exp(self.base_logprob.astype(np.float64) + peak)
