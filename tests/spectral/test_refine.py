"""Refinement on curves that are known in closed form."""

import numpy as np

from negkernel.spectral import Accuracy, refine

EPS = np.finfo(np.float64).eps


class Sigmoids:
    """``log p`` of a target against one rival whose logit moves by ``c x``: smooth, with poles."""

    def __init__(self, n, steepest, seed=0):
        rng = np.random.default_rng(seed)
        self.odds = rng.uniform(0.01, 3, n)
        self.c = rng.uniform(-steepest, steepest, n)
        self.rows = 0

    def curve(self, which, x):
        odds, c = self.odds[which, None], self.c[which, None]
        return np.log1p(odds) - np.log1p(odds * np.exp(c * x))

    def evaluate(self, which, x):
        self.rows += x.size
        return self.curve(which, x)[..., None]

    def slope(self):
        return (-self.c * self.odds / (1 + self.odds))[:, None]

    def base(self):
        return -np.log1p(self.odds)[:, None]


def run(n, steepest, shifts, tol=1e-3):
    model = Sigmoids(n, steepest)
    found = refine(model.evaluate, model.slope(), model.base(), shifts, Accuracy(tol, EPS))
    truth = model.curve(np.arange(n), np.broadcast_to(shifts, (n, len(shifts))))[:, None]
    return model, found, truth


def test_curves_keep_the_tolerance_and_the_estimate_is_honest():
    for radius, steepest in ((2, 2), (10, 1), (10, 3)):
        _, found, truth = run(2000, steepest, np.linspace(-radius, radius, 101))
        error = np.abs(found.values - truth).max(-1)
        assert (error <= 1e-3 * np.abs(truth).max(-1)).mean() >= 0.999
        assert (error <= found.error).mean() >= 0.999


def test_neg_keeps_the_tolerance_where_the_curve_is_even():
    shifts = np.linspace(-2, 2, 101)
    even = np.array([1.0, 1e-3, 1e-2])  # how little of the curve is odd

    def curve(which, x):
        return 0.05 * (x**2 * np.cos(0.4 * x) + even[which, None] * np.sin(0.7 * x))

    found = refine(
        lambda which, x: curve(which, x)[..., None],
        0.05 * 0.7 * even[:, None],
        np.full((3, 1), -4.0),
        shifts,
        Accuracy(1e-3, EPS),
    )
    odd = np.expm1(found.values[:, 0]) @ shifts
    truth = np.expm1(curve(np.arange(3), np.tile(shifts, (3, 1)))) @ shifts
    np.testing.assert_allclose(odd, truth, rtol=1e-3)


def test_only_hard_curves_are_refined_and_rows_are_counted():
    shifts = np.linspace(-2, 2, 101)
    model = Sigmoids(50, 0.05)
    model.c[:3] = 25.0
    found = refine(model.evaluate, model.slope(), model.base(), shifts, Accuracy(1e-3, EPS))
    assert found.rows.sum() == model.rows
    assert (found.rows[3:] <= 4).all()
    assert (found.rows[:3] > 16).all()
    assert found.rows.max() <= 100


def test_a_curve_that_no_level_resolves_is_computed_at_the_shifts():
    shifts = np.linspace(-1, 1, 21)

    def kinked(which, x):
        return np.where(np.abs(x) > 0.07, np.sign(x), 0.0)[..., None]

    found = refine(kinked, np.zeros((1, 1)), np.full((1, 1), -1.0), shifts, Accuracy(1e-3, EPS))
    np.testing.assert_array_equal(found.values[0, 0], kinked(None, shifts)[:, 0])


def test_a_neuron_without_effect_takes_two_rows_and_has_no_error():
    found = refine(
        lambda which, x: np.zeros((*x.shape, 2)),
        np.zeros((4, 2)),
        np.full((4, 2), -1.0),
        np.linspace(-2, 2, 101),
        Accuracy(1e-3, EPS),
    )
    assert (found.rows == 2).all()
    assert not found.values.any()
    assert not found.error.any()


def test_noise_stops_refinement_and_stands_in_the_error():
    rng = np.random.default_rng(0)
    shifts = np.linspace(-2, 2, 101)
    noise = 1e-5

    def noisy(which, x):
        return (1e-4 * x + noise * rng.uniform(-1, 1, x.shape))[..., None]

    found = refine(
        noisy,
        np.full((200, 1), 1e-4),
        np.full((200, 1), -1.0),
        shifts,
        Accuracy(1e-6, EPS, noise=3 * noise),
    )
    error = np.abs(found.values[:, 0] - 1e-4 * shifts).max(-1)
    assert found.rows.mean() < 10
    assert (error <= found.error[:, 0]).mean() >= 0.99
