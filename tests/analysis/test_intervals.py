"""Intervals over prompts, against draws made one by one."""

import numpy as np
import pytest

from neurgrad.analysis.intervals import correlation, interval, mean


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 30)) * rng.exponential(size=(40, 1)) * 1e-6
    return x, 3 * x + rng.normal(size=x.shape) * 1e-6


def test_the_interval_is_that_of_resampled_prompts(pairs):
    x, y = pairs
    found = correlation(x, y)
    assert found.value == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(1000):
        some = rng.integers(0, len(x), len(x))
        drawn.append(np.corrcoef(x[some].ravel(), y[some].ravel())[0, 1])
    # Two draws of the same quantiles: 5 % of the width apart at most.
    expected = np.quantile(drawn, [0.025, 0.975])
    assert found[1:] == pytest.approx(tuple(expected), abs=0.1 * np.ptp(expected))


def test_neurons_of_one_prompt_are_no_independent_draws():
    rng = np.random.default_rng(2)
    shares = np.repeat(rng.integers(0, 2, 50), 100).reshape(50, 100)  # all or none of a prompt's
    found = mean(shares.mean(1))
    assert found.high - found.low > 0.2  # as 5,000 independent ones it would be 0.03


def test_correlations_near_one_keep_their_digits():
    x = np.linspace(1, 2, 2000).reshape(20, 100)
    y = x + 1e-6 * np.sin(1e3 * x)
    expected = np.corrcoef(x.ravel(), y.ravel())[0, 1]
    assert 1 - correlation(x, y).value == pytest.approx(1 - expected, rel=1e-2)


def test_one_prompt_has_no_interval():
    found = mean([0.25])
    assert found.value == 0.25
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert interval([[1.0], [3.0]], lambda sums: sums[..., 0]).value == 4.0
