"""Compute the curves of many neurons for their NEG, with as few rows as audits allow.

There are three kinds of neurons: those whose NEG follows from the slope and from what others of the
layer show (no row, :mod:`.unshifted`), those whose both ends show terms that decay (two rows), and
the rest, which is refined until NEG no longer changes. Both shortcuts are held against neurons
drawn at random, which take the rows that they would spare; where one does not stand, the portion
does without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from negkernel.spectral.estimate import finest
from negkernel.spectral.refine import Accuracy, Curves, Evaluate, refine
from negkernel.spectral.rules import NegRule, Seen, Verdict
from negkernel.spectral.unshifted import factors, left_out

AUDITED = 48  # neurons that are drawn to hold a shortcut against
FEWEST = 10 * AUDITED  # of a portion: with fewer, audits would cost what they save
NODES = 8  # of a curve that others are held against, or more
# NEG is resolved to the tolerance down to this share of its layer's median. The aim is lower by
# WITHIN: NEG and the median are not known before.
FLOOR, WITHIN = 0.01, 0.97
# Drawn neurons stay below this share of what is stated of them, and all but a few below a smaller
# one: not all neurons are drawn, and where curves break many are off by a little.
SHARE, MOSTLY, FEW = 0.5, 0.15, 2
# Where more than this share of neurons takes more than NODES, curves are not smooth, whatever those
# that were drawn say: breaks are rare, and so is drawing them.
BENT = 0.005


@dataclass(frozen=True)
class Neurons:
    """What is known of n neurons before any is shifted.

    Attributes
    ----------
    layer : ndarray [n] int64
    base_logprob : ndarray [n, K]
    slope : ndarray [n, K] or None
        Of log p along the axis; None where curves are not 0 at 0.
    reach : ndarray [n] or None
        See :class:`negkernel.methods.base.Opened`.
    """

    layer: np.ndarray
    base_logprob: np.ndarray
    slope: np.ndarray | None
    reach: np.ndarray | None = None


def frugal(evaluate: Evaluate, neurons: Neurons, shifts: np.ndarray, accuracy: Accuracy) -> Curves:
    """Curves of n neurons at the paper's ``shifts`` [J]; see :func:`refine`.

    What is drawn depends on the number of neurons alone, so that a portion has the same bits
    whenever it is computed.
    """
    n = len(neurons.layer)
    if neurons.slope is None:
        nothing = np.zeros(neurons.base_logprob.shape)
        rule = NegRule(WITHIN * accuracy.tol, neurons.base_logprob, floor=nothing)
        return refine(evaluate, None, neurons.base_logprob, shifts, accuracy, rule)
    portion = _Portion(evaluate, neurons, neurons.slope.astype(np.float64), shifts, accuracy)
    rest = np.arange(n)
    if n >= FEWEST:
        rest = portion.audit(rest)
        if neurons.reach is not None and portion.smooth:
            rest = portion.spare(rest, neurons.reach.astype(np.float64))
    if len(rest):
        portion.trust(rest)
    return portion.curves()


class _Portion:
    """Neurons that are finished in groups, and the rule that holds for the next group."""

    def __init__(
        self,
        evaluate: Evaluate,
        neurons: Neurons,
        slope: np.ndarray,
        shifts: np.ndarray,
        accuracy: Accuracy,
    ):
        self._evaluate, self._slope, self._shifts = evaluate, slope, shifts
        self._x, self._layer = shifts.astype(np.float64), neurons.layer
        self._radius = float(np.abs(self._x).max())
        self._p = np.exp(neurons.base_logprob.astype(np.float64))
        typical = np.empty(slope.shape)
        for own in self._layers(np.arange(len(slope))):
            typical[own] = np.median(np.abs(slope[own]), axis=0)
        self._accuracy = replace(accuracy, typical=typical * self._radius)
        self._rule = NegRule(
            WITHIN * accuracy.tol,
            neurons.base_logprob,
            FLOOR * typical * self._p,
            alike=bool(accuracy.eps > np.finfo(np.float32).eps),
        )
        self._done: list[tuple[np.ndarray, Curves]] = []

    @property
    def smooth(self) -> bool:
        """Whether audited curves were."""
        return self._rule.smooth

    def curves(self) -> Curves:
        """All curves, in order."""
        order = np.argsort(np.concatenate([which for which, _ in self._done]))
        return Curves.joined([found for _, found in self._done])[order]

    def add(self, which: np.ndarray, audit: _Audit | None = None) -> Curves:
        """Refine and finish some neurons."""
        rule = self._rule.of(which)
        found = refine(
            lambda some, x: self._evaluate(which[some], x),
            self._slope[which],
            rule.base_logprob,
            self._shifts,
            self._accuracy.of(which),
            rule if audit is None else audit,
        )
        self._done.append((which, found))
        return found

    def trust(self, which: np.ndarray) -> Curves:
        """Refine and finish some neurons; once more, as curves, if they are found not smooth."""
        found = self.add(which)
        if self.smooth and (found.rows > NODES).mean() > BENT:
            self._rule = replace(self._rule, smooth=False)
            self._done.pop()
            spent = found.rows
            found = self.add(which)
            found = replace(found, rows=found.rows + spent)
            self._done[-1] = which, found
        return found

    def audit(self, rest: np.ndarray) -> np.ndarray:
        """Find out whether curves are smooth enough to be trusted; return the neurons left."""
        which, rest = _drawn(rest)
        audit = _Audit(replace(self._rule.of(which), smooth=True))
        found = self.add(which, audit)
        self._rule = replace(self._rule, smooth=audit.holds(found, self._x))
        return rest

    def spare(self, rest: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Finish neurons that need no row, once those that reach farther have shown what to expect.

        Returns
        -------
        ndarray of int64
            The neurons that are left.
        """
        far = np.zeros(len(rest), dtype=bool)
        for own in self._layers(rest):
            far[own] = reach[rest[own]] >= np.median(reach[rest[own]])
        shifted, near = rest[far], rest[~far]
        found, fit = self._from_slopes(near, self._factors(shifted, reach), reach)
        if not fit.any() or not self.smooth:
            return near
        drawn, others = _drawn(np.flatnonzero(fit))
        true = self.add(near[drawn])
        rule = self._rule.of(near[drawn])
        off = np.abs(rule.neg(self._x, true.values) - rule.neg(self._x, found.values[drawn]))
        beyond = off - found.neg_error[drawn]
        if (beyond > 0).any(-1).sum() > 1 or (beyond > found.neg_error[drawn]).any():
            return np.delete(near, drawn)
        self._done.append((near[others], found[others]))
        return near[~fit]

    def _factors(self, shifted: np.ndarray, reach: np.ndarray) -> dict[int, np.ndarray]:
        """Shift some neurons; their factors, by layer."""
        found = self.trust(shifted)
        return {
            int(self._layer[shifted[own[0]]]): factors(
                found.first[own],
                self._slope[shifted[own]] * self._radius,
                reach[shifted[own]] * self._radius,
            )
            for own in self._layers(shifted)
        }

    def _from_slopes(
        self, near: np.ndarray, factors: dict[int, np.ndarray], reach: np.ndarray
    ) -> tuple[Curves, np.ndarray]:
        """Curves of neurons as their slopes have them, and which need no row [n]."""
        slope, rule = self._slope[near], self._rule.of(near)
        lines, n = slope[..., None] * self._x, len(near)
        nats, neg, r = np.empty((3, *slope.shape))
        for own in self._layers(near):
            some = near[own]
            left = left_out(
                factors[int(self._layer[some[0]])],
                slope[own] * self._radius,
                reach[some] * self._radius,
                self._x / self._radius,
            )
            nats[own], neg[own], r[own] = left.nats, left.neg, left.r
        rounding = self._accuracy.of(near).rounding(np.abs(lines).max(-1), rule.base_logprob)
        unit, wanted = self._p[near] / self._radius, rule.wanted(rule.neg(self._x, lines))
        fit = (((neg + rounding) * unit <= wanted) & (r <= self._accuracy.tol)).all(-1)
        error = np.maximum(neg * unit, finest(wanted, rounding * unit)) + rounding * unit
        rows, first = np.zeros(n, dtype=np.int64), np.zeros((*slope.shape, 2))
        return Curves(lines, nats + rounding, rows, error, first), fit

    def _layers(self, which: np.ndarray) -> list[np.ndarray]:
        """Where in ``which`` the neurons of each layer are."""
        layer = self._layer[which]
        return [np.flatnonzero(layer == one) for one in np.unique(layer)]


class _Audit:
    """A rule that goes one level on where another is content, and remembers what that one said."""

    def __init__(self, rule: NegRule):
        self._rule = rule
        self._said: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._content = np.zeros(len(rule.floor), dtype=bool)

    def __call__(self, seen: Seen) -> Verdict:
        """Judge as the rule does, a level later."""
        verdict = self._rule(seen)
        content = ~verdict.more
        at = seen.which[content]
        neg = self._rule.of(seen.which).neg(seen.shifts, seen.curve)
        stated = np.asarray(verdict.neg_truncation + verdict.neg_rounding)
        self._said.append((at, neg[content], stated[content]))
        again = content & self._content[seen.which] & (len(seen.level.nodes) >= NODES)
        self._content[seen.which] = content
        return replace(verdict, more=~again)

    def holds(self, found: Curves, x: np.ndarray) -> bool:
        """Whether all that was said is true of the curves that were ``found`` in the end."""
        neg, worst = self._rule.neg(x, found.values), np.zeros(len(self._content))
        for at, said, stated in self._said:
            off = np.abs(said - neg[at]) / np.where(stated > 0, stated, 1.0)
            worst[at] = np.maximum(worst[at], off.max(-1, initial=0.0))
        return bool((worst <= SHARE).all() and (worst > MOSTLY).sum() <= FEW)


def _drawn(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw :data:`AUDITED` of some, the same for as many; they and the others, in order."""
    order = np.random.default_rng(len(which)).permutation(len(which))
    return which[np.sort(order[:AUDITED])], which[np.sort(order[AUDITED:])]
