"""Slope, linearity and probability shift against scikit-learn, scipy and exact arithmetic."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression

from negkernel.results import statistics

EPS = np.finfo(np.float64).eps

# Curves as sweeps see them: probability shifts from a 7B model's 1e-12 up to the largest possible.
probabilities = st.floats(-1, 1).map(lambda x: 0.0 if abs(x) < 1e-12 else x)


@st.composite
def sweeps(draw, fewest=1):
    """Distinct shifts, none zero, and two curves over them."""
    shifts = draw(
        st.lists(
            st.floats(-10, 10).filter(lambda x: abs(x) > 1e-3),
            min_size=fewest,
            max_size=20,
            unique_by=lambda x: round(x, 3),
        )
    )
    curves = draw(hnp.arrays(np.float64, (2, len(shifts)), elements=probabilities))
    return np.array(shifts), curves


@given(sweeps())
@settings(deadline=None)
def test_neg_is_zero_intercept_least_squares(sweep):
    shifts, curves = sweep
    line = LinearRegression(fit_intercept=False).fit(shifts[:, None], curves.T)
    # Both sides sum J products; a budget of 100 roundings of the largest term covers J = 20.
    budget = 100 * EPS * np.abs(curves).max() / np.abs(shifts).max()
    np.testing.assert_allclose(
        statistics.neg(shifts, curves), line.coef_[:, 0], rtol=1e-10, atol=budget
    )


@given(sweeps(fewest=3))
@settings(deadline=None)
def test_pearson_is_the_correlation_of_scipy(sweep):
    shifts, curves = sweep
    # scipy itself loses its digits (and says so) where a curve is nearly constant.
    assume((np.ptp(curves, axis=1) > 1e-6 * np.abs(curves).max(axis=1)).all())
    expected = [pearsonr(shifts, curve).statistic for curve in curves]
    np.testing.assert_allclose(statistics.pearson(shifts, curves), expected, rtol=0, atol=1e-8)


@given(
    hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e100, 1e100)),
    st.data(),
)
@settings(deadline=None)
def test_every_finite_sweep_has_a_finite_correlation_and_no_nan(shifts, data):
    assume(shifts.any())
    curve = data.draw(hnp.arrays(np.float64, shifts.shape, elements=st.floats(-1, 1)))
    r = statistics.pearson(shifts, curve)
    assert -1 <= r <= 1
    with np.errstate(over="ignore"):  # a slope over shifts of 1e-320 may be infinite
        assert not np.isnan(statistics.neg(shifts, curve))


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-300, -0.7])
@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_a_constant_curve_has_correlation_exactly_zero(value, count):
    shifts = np.linspace(-2, 1.7, count)
    assert statistics.pearson(shifts, np.full((2, count), value)).tolist() == [0, 0]


def test_the_smallest_departure_from_a_constant_is_seen():
    curve = np.full(5, 0.1)
    curve[-1] = np.nextafter(0.1, 1)
    shifts = np.arange(1.0, 6.0)
    one_step = np.array([0, 0, 0, 0, 1.0])
    expected = pearsonr(shifts, one_step).statistic
    assert statistics.pearson(shifts, curve) == pytest.approx(expected, abs=4 * EPS)


def test_the_zero_shift_is_left_out():
    shifts = np.array([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0])
    curve = np.array([-2.0, -1.0, 50.0, -70.0, 1.0, 2.0])
    assert statistics.neg(shifts, curve) == pytest.approx(1, abs=4 * EPS)
    assert statistics.pearson(shifts, curve) == pytest.approx(1, abs=4 * EPS)


def test_one_shift_has_a_slope_and_no_correlation():
    shifts, curve = np.array([0.0, 4.0]), np.array([0.0, -1.0])
    assert statistics.neg(shifts, curve) == -0.25
    assert statistics.pearson(shifts, curve) == 0


@pytest.mark.parametrize("statistic", [statistics.neg, statistics.pearson])
@pytest.mark.parametrize("shifts", [[0.0], [0.0, -0.0], []])
def test_only_zero_shifts_are_refused(statistic, shifts):
    with pytest.raises(ValueError, match="at least one shift other than zero"):
        statistic(np.array(shifts), np.zeros((3, len(shifts))))


def test_float32_curves_are_summed_in_float64():
    shifts = np.linspace(-2, 2, 40)
    curve = (3e-30 * shifts).astype(np.float32)  # its squares do not exist in float32
    assert statistics.pearson(shifts, curve) == pytest.approx(1, abs=1e-12)
    assert statistics.neg(shifts, curve) == pytest.approx(3e-30, rel=1e-7)


@given(st.floats(-700, 0), st.floats(-800, 0), st.floats(1e-18, 1))
@settings(deadline=None)
def test_prob_shift_is_the_difference_of_probabilities(base, shifted, shrink):
    change = (shifted - base) * shrink
    assume(change == 0 or abs(change) > 1e-60)  # 100 digits see the difference that makes
    with localcontext(prec=100):
        exact = (Decimal(base) + Decimal(change)).exp() - Decimal(base).exp()
        found = Decimal(float(statistics.prob_shift(np.float64(base), np.float64(change))))
        # exp turns a rounding of its argument, at most |base| + |change|, into a relative error;
        # below 1e-300 numbers are denormal.
        budget = Decimal(4 * EPS * (1 + abs(base) + abs(change))) * abs(exact) + Decimal("1e-300")
        assert abs(found - exact) <= budget


def test_prob_shift_survives_a_target_that_comes_back_and_one_that_vanishes():
    base = np.array([-800.0, -0.5, -3.0], dtype=np.float32)
    change = np.array([799.5, -np.inf, 0.0], dtype=np.float32)
    expected = [np.exp(-0.5), -np.exp(-0.5), 0.0]
    np.testing.assert_allclose(statistics.prob_shift(base, change), expected, rtol=1e-12)
