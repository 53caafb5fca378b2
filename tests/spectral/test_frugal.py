"""Maps with few rows on curves in closed form: what is spared, and whether stated errors hold."""

import numpy as np
import pytest

from negkernel.results import statistics
from negkernel.spectral import Accuracy, paper_grid
from negkernel.spectral.frugal import Neurons, frugal

EPS, TOL, LAYERS, WIDTH = np.finfo(np.float64).eps, 1e-3, 2, 1000
BASE = np.log(0.2)


class Rivals:
    """Neurons that add a multiple of one vector each; five tokens compete, behind a norm.

    Logits are ``W h / |h|`` for ``h = h0 + shift * vector``; with ``kinks`` a layer of ReLUs is in
    between, so that curves break where one of 40 opens.
    """

    def __init__(self, *, kinks=False, seed=0):
        rng = np.random.default_rng(seed)
        n, H = LAYERS * WIDTH, 24
        length = np.exp(rng.normal(size=n)) * 0.01
        vectors = rng.normal(size=(n, H))
        self.vectors = length[:, None] * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.layer = np.repeat(np.arange(LAYERS), WIDTH)
        self.h0, self.W = rng.normal(size=H), rng.normal(size=(5, H)) * 2
        self.opening = rng.normal(size=(40, H)) if kinks else None
        self.closing = rng.normal(size=(H, 40)) * 0.3
        self.rows = 0

    def logprob(self, h):
        if self.opening is not None:
            h = h + np.maximum(h @ self.opening.T, 0) @ self.closing.T
        z = h / np.sqrt(np.square(h).mean(-1, keepdims=True)) @ self.W.T
        z = z - z.max(-1, keepdims=True)
        return z[..., 0] - np.log(np.exp(z).sum(-1))

    def curve(self, which, x):
        h = self.h0 + x[..., None] * self.vectors[which, None]
        return self.logprob(h) - self.logprob(self.h0)

    def evaluate(self, which, x):
        self.rows += x.size
        return self.curve(which, x)[..., None]

    def neurons(self, reach="true"):
        step = 1e-6
        ends = self.curve(np.arange(len(self.layer)), np.tile([-step, step], (len(self.layer), 1)))
        length = np.linalg.norm(self.vectors, axis=1)
        said = {"true": length, "none": None, "false": length[::-1], "constant": 1 + 0 * length}
        base = np.full((len(length), 1), self.logprob(self.h0))
        return Neurons(self.layer, base, (ends[:, 1:] - ends[:, :1]) / (2 * step), said[reach])


def judged(rivals, neurons, radius, tol=TOL):
    """The curves, and the true errors of NEG, r and log p."""
    shifts = paper_grid(radius, np.float64)
    found = frugal(rivals.evaluate, neurons, shifts, Accuracy(tol, EPS))
    truth = rivals.curve(np.arange(len(neurons.layer)), np.tile(shifts, (len(neurons.layer), 1)))
    dp = [statistics.prob_shift(neurons.base_logprob, y) for y in (found.values[:, 0], truth)]
    neg, r = ([measure(shifts, y) for y in dp] for measure in (statistics.neg, statistics.pearson))
    median = [np.median(np.abs(neg[1][neurons.layer == layer])) for layer in range(LAYERS)]
    wanted = tol * np.maximum(np.abs(neg[1]), 0.01 * np.array(median)[neurons.layer])
    error = np.abs(found.values[:, 0] - truth).max(-1)
    return found, (np.abs(neg[0] - neg[1]), np.abs(r[0] - r[1]), error), wanted


@pytest.mark.parametrize("kinks", [False, True])
@pytest.mark.parametrize("radius", [2.0, 10.0, 50.0])
@pytest.mark.parametrize("reach", ["true", "none", "false", "constant"])
def test_stated_errors_hold_whatever_is_said_of_the_reach(kinks, radius, reach):
    """Also of models whose curves break, and where the reach says nothing of them."""
    rivals = Rivals(kinks=kinks)
    found, (neg, _, error), wanted = judged(rivals, rivals.neurons(reach), radius)
    assert (neg <= found.neg_error[:, 0]).mean() >= 0.999
    if not kinks:
        assert (error <= 2 * found.error[:, 0]).mean() >= 0.995
    if not kinks and radius == 2.0:
        assert (found.neg_error[:, 0] <= 1.02 * wanted).mean() >= 0.99
    assert found.rows.sum() == rivals.rows
    assert found.rows.max() <= 200  # of curves that were trusted before they were seen to break


def test_smooth_curves_take_two_rows_or_none():
    rivals = Rivals()
    found, (neg, r, _), wanted = judged(rivals, rivals.neurons(), 2.0)
    assert found.rows.mean() < 2.6
    assert 0.1 < (found.rows == 0).mean() < 0.6
    assert (found.rows == 2).mean() > 0.2
    assert (neg <= wanted).mean() >= 0.999
    assert r.max() <= 4 * TOL
    alone, _, _ = judged(rivals, rivals.neurons("none"), 2.0)
    assert (alone.rows >= 2).all()


def test_a_portion_has_the_same_bits_again():
    rivals = Rivals()
    first, *_ = judged(rivals, rivals.neurons(), 2.0)
    again, *_ = judged(rivals, rivals.neurons(), 2.0)
    for name in ("values", "error", "neg_error", "rows"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_neurons_that_reach_nothing_take_no_row():
    rivals = Rivals()
    silent = np.arange(len(rivals.layer)) % 3 == 0
    rivals.vectors[silent] = 0.0
    found, (neg, *_), _ = judged(rivals, rivals.neurons(), 2.0)
    drawn = found.rows[silent] > 0
    assert drawn.mean() < 0.2  # those that were audited
    assert np.abs(found.values[silent]).max() < 1e-9  # differences' rounding
    assert neg[silent].max() < 1e-9


def test_few_neurons_are_refined_as_curves():
    rivals = Rivals()
    few = np.arange(0, len(rivals.layer), 20)
    rivals.vectors, rivals.layer = rivals.vectors[few], rivals.layer[few]
    found, (neg, _, error), _ = judged(rivals, rivals.neurons(), 2.0)
    assert (found.rows >= 2).all()
    assert (neg <= found.neg_error[:, 0]).all()
    assert (error <= found.error[:, 0]).mean() > 0.98
