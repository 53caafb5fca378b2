"""Nodes and interpolants: what they reproduce exactly, and where they are nested."""

import numpy as np
import pytest

from negkernel.spectral.basis import levels

GRID = np.linspace(-2, 2, 101)


@pytest.mark.parametrize("shifts", [GRID, np.linspace(0, 10, 101), np.linspace(-3, 1, 90)])
@pytest.mark.parametrize("pinned", [True, False])
def test_polynomials_of_the_level_s_order_are_reproduced(shifts, pinned):
    rng = np.random.default_rng(0)
    for level in levels(shifts, pinned=pinned):
        if level.order > 10:
            break
        unit = np.abs(shifts).max()
        coefficients = rng.normal(size=level.order)
        if pinned:
            coefficients[0] = 0.0  # the curve is 0 at 0
        curve = np.polynomial.Polynomial(coefficients)
        slope = np.array(curve.deriv()(0.0) / unit if pinned else 0.0)
        found = level.curve(curve(level.nodes / unit), slope)
        np.testing.assert_allclose(found, curve(shifts / unit), atol=1e-11)


def test_levels_are_nested_with_both_ends_and_never_zero():
    previous = np.empty(0)
    for level in levels(GRID, pinned=True):
        assert set(previous) < set(level.nodes)
        assert {-2.0, 2.0} <= set(level.nodes)
        assert 0.0 not in level.nodes
        np.testing.assert_array_equal(level.nodes[: -level.n_new], previous)
        previous = level.nodes
    assert len(previous) == 64


def test_nodes_are_what_the_model_is_given():
    shifts = np.linspace(-0.3, 0.3, 101, dtype=np.float32)
    for level in levels(shifts, pinned=True):
        np.testing.assert_array_equal(level.nodes, level.nodes.astype(np.float32))


def test_one_sided_shifts_stay_on_their_side():
    for level in levels(np.linspace(0.1, 1, 40), pinned=True):
        assert level.nodes.min() > 0


def test_few_shifts_have_no_level_that_is_dearer():
    assert list(levels(np.array([-1.0, 1.0]), pinned=True)) == []
    assert list(levels(np.array([0.0]), pinned=True)) == []
    assert all(len(level.nodes) < 5 for level in levels(np.linspace(-1, 1, 5), pinned=True))
