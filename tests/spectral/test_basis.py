"""Nodes and interpolants: what they reproduce exactly, and where they are nested."""

import numpy as np
import pytest

from negkernel.spectral import paper_grid
from negkernel.spectral.basis import levels

GRID = np.linspace(-2, 2, 101)


@pytest.mark.parametrize("shifts", [GRID, np.linspace(0, 10, 101), np.linspace(-3, 1, 90)])
@pytest.mark.parametrize("pinned", [True, False])
def test_polynomials_of_the_level_s_order_are_reproduced(shifts, pinned):
    rng = np.random.default_rng(0)
    for level in levels(shifts, pinned=pinned):
        order = len(level.nodes) + 2 * pinned
        unit = np.abs(shifts).max()
        coefficients = rng.normal(size=order)
        if pinned:
            coefficients[0] = 0.0  # the curve is 0 at 0
        curve = np.polynomial.Polynomial(coefficients)
        slope = np.array(curve.deriv()(0.0) / unit if pinned else 0.0)
        found = level.curve(curve(level.nodes / unit), slope)
        np.testing.assert_allclose(found, curve(shifts / unit), atol=1e-11)


@pytest.mark.parametrize("pinned", [True, False])
def test_no_radius_divides_by_zero(pinned):
    with np.errstate(all="raise"):
        for radius in np.concatenate([np.geomspace(1e-6, 1e6, 60), np.arange(1, 40) / 4]):
            for shifts in (np.linspace(-radius, radius, 101), paper_grid(radius, np.float32)):
                for level in levels(shifts, pinned=pinned):
                    assert np.isfinite(level.at_shifts).all()


def test_levels_are_nested_with_both_ends_and_never_zero():
    previous = np.empty(0)
    for level in levels(GRID, pinned=True):
        assert set(previous) < set(level.nodes)
        assert {-2.0, 2.0} <= set(level.nodes)
        assert 0.0 not in level.nodes
        np.testing.assert_array_equal(level.nodes[: -level.n_new], previous)
        previous = level.nodes
    assert len(previous) == 16


UNEVEN = [
    GRID,
    np.linspace(-3, 1, 90),
    np.linspace(0.1, 1, 40),
    np.geomspace(1e-3, 10, 50),
    np.random.default_rng(0).normal(size=60),
    np.array([0.5, 0.0, -2.0, 1.5, -1.0, 2.0, 0.25, -0.75, 2.0]),
]


@pytest.mark.parametrize("shifts", UNEVEN)
@pytest.mark.parametrize("pinned", [True, False])
def test_nodes_are_shifts_and_amplify_little_what_is_at_them(shifts, pinned):
    shifts = np.float32(shifts)
    assert len(list(levels(shifts, pinned=pinned))) >= 2
    for level in levels(shifts, pinned=pinned):
        assert set(level.nodes) <= set(np.float64(shifts))
        assert len(set(level.nodes)) == len(level.nodes) < len(shifts)
        noise = np.random.default_rng(1).uniform(-1, 1, (50, len(level.nodes)))
        found = level.curve(noise, np.zeros(50))
        assert np.abs(found).max() <= level.amplification <= 8


def test_one_sided_shifts_stay_on_their_side():
    for level in levels(np.linspace(0.1, 1, 40), pinned=True):
        assert level.nodes.min() > 0


def test_few_shifts_have_no_level_that_is_dearer():
    assert list(levels(np.array([-1.0, 1.0]), pinned=True)) == []
    assert list(levels(np.array([0.0]), pinned=True)) == []
    assert all(len(level.nodes) < 5 for level in levels(np.linspace(-1, 1, 5), pinned=False))
