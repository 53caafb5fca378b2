"""The comparer rejects what it is there to reject."""

import numpy as np
import pytest
import torch

from negkernel.testing.compare import assert_close


@pytest.fixture
def expected():
    return np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)


def test_accepts_what_is_within_budget(expected):
    assert_close(expected + np.float32(1e-4), expected, budget=2e-4)
    assert_close(expected * np.float32(1.001), expected, budget=2e-3, relative_to=np.abs(expected))
    assert_close(torch.from_numpy(expected.copy()), expected.astype(np.float64), budget=0)


def test_rejects_a_zeroed_row(expected):
    actual = expected.copy()
    actual[17] = 0
    with pytest.raises(AssertionError, match=r"48 of 3072 elements .* worst at \[17, \d+\]"):
        assert_close(actual, expected, budget=1e-4)


def test_rejects_one_wrong_element_and_names_it(expected):
    actual = expected.copy()
    actual[5, 7] += 1e-3
    with pytest.raises(
        AssertionError, match=r"dh: 1 of 3072 .* worst at \[5, 7\]: actual .* 0.0005"
    ):
        assert_close(actual, expected, budget=5e-4, what="dh")


@pytest.mark.parametrize("poisoned", ["actual", "expected", "both", "budget"])
def test_rejects_nan_on_any_side(expected, poisoned):
    actual, truth, budget = expected.copy(), expected.copy(), np.full(expected.shape, 1.0)
    if poisoned in ("actual", "both"):
        actual[3, 4] = np.nan
    if poisoned in ("expected", "both"):
        truth[3, 4] = np.nan
    if poisoned == "budget":
        budget[3, 4] = np.nan
    with pytest.raises(AssertionError, match=r"1 of 3072 .* worst at \[3, 4\]"):
        assert_close(actual, truth, budget=budget)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_equals_only_itself(expected, value):
    truth = expected.copy()
    truth[0, 0] = value
    assert_close(truth.copy(), truth, budget=0)
    for other in (-value, np.finfo(np.float32).max, 0.0):
        actual = truth.copy()
        actual[0, 0] = other
        with pytest.raises(AssertionError, match=r"worst at \[0, 0\]"):
            assert_close(actual, truth, budget=1e30)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48, 1), (1, 48), (3072,)])
def test_rejects_another_shape(expected, shape):
    with pytest.raises(AssertionError, match="shape"):
        assert_close(np.zeros(shape, np.float32), expected, budget=1e9)


def test_rejects_another_dtype(expected):
    with pytest.raises(AssertionError, match="dtype float64, expected float32"):
        assert_close(expected.astype(np.float64), expected, budget=1e9)
    with pytest.raises(AssertionError, match="dtype bfloat16, expected float32"):
        assert_close(torch.from_numpy(expected).bfloat16(), expected, budget=1e9)


def test_rejects_an_array_compared_with_itself(expected):
    tensor = torch.from_numpy(expected)
    for alias in (expected, expected[:], expected.T.T, expected.view(), tensor, tensor[:]):
        with pytest.raises(AssertionError, match="share memory"):
            assert_close(alias, expected, budget=1e9)
        with pytest.raises(AssertionError, match="share memory"):
            assert_close(tensor, alias, budget=1e9)
