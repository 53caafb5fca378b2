"""Counts over packed codes: C++ equals numpy, to the last bit, for every shape and width."""

import numpy as np
import pytest

from negkernel.ops import _ext
from negkernel.ops.packed import sum_by_label, votes_by_size

K_AND_C = [(2, 6), (3, 24), (4, 120), (4, 200), (5, 720), (7, 40320)]


def drawn(Q, N, K, C, seed=0, largest=127):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, C, (Q, N)).astype(np.uint8 if C <= 256 else np.uint16)
    labels = rng.integers(0, K, Q)
    tables = rng.integers(-largest, largest + 1, (K, C)).astype(np.int8)
    return codes, labels, tables


@pytest.mark.parametrize(("K", "C"), K_AND_C)
@pytest.mark.parametrize(("Q", "N"), [(1, 1), (3, 31), (70, 64), (300, 4097), (2, 9000)])
@pytest.mark.parametrize("largest", [1, 4, 127])
def test_sums_by_label(isa, K, C, Q, N, largest):
    codes, labels, tables = drawn(Q, N, K, C, largest=largest)
    got = sum_by_label(codes, labels, tables, impl="cpp")
    np.testing.assert_array_equal(got, sum_by_label(codes, labels, tables, impl="reference"))
    assert got.dtype == np.int64


def test_the_extreme_values_do_not_overflow(isa):
    codes = np.zeros((1000, 70), np.uint8)
    for value in (-128, 127):
        tables = np.full((2, 6), value, np.int8)
        total = sum_by_label(codes, np.zeros(1000, np.int64), tables, impl="cpp")
        np.testing.assert_array_equal(total, 1000 * value)


@pytest.mark.parametrize(("K", "C"), K_AND_C)
@pytest.mark.parametrize("sizes", [[1], [1, 2, 4, 8], [3, 50], [50]])
def test_votes_by_size(isa, K, C, sizes):
    rng = np.random.default_rng(1)
    codes, _, _ = drawn(9, 60, K, C)
    neurons = rng.permutation(60)[: sizes[-1]]
    polarity = rng.integers(-1, 2, sizes[-1]).astype(np.int8)
    tables = rng.integers(-128, 128, (3, C, K)).astype(np.int8)
    got, truth = (
        votes_by_size(codes, neurons, polarity, tables, sizes, impl=impl)
        for impl in ("cpp", "reference")
    )
    np.testing.assert_array_equal(got, truth)
    assert got.shape == (9, len(sizes), K)


def test_rows_may_lie_apart(isa):
    codes, labels, tables = drawn(40, 90, 4, 120)
    part = codes[::2, 5:77]
    np.testing.assert_array_equal(
        sum_by_label(part, labels[::2], tables, impl="cpp"),
        sum_by_label(part.copy(), labels[::2], tables, impl="reference"),
    )


def test_other_layouts_go_to_numpy(compiled):
    codes, labels, tables = drawn(8, 6, 2, 6)
    turned = np.asfortranarray(codes)
    with pytest.raises(NotImplementedError, match="rows without gaps"):
        sum_by_label(turned, labels, tables, impl="cpp")
    np.testing.assert_array_equal(
        sum_by_label(turned, labels, tables), sum_by_label(codes, labels, tables, impl="reference")
    )


def test_indices_that_reach_elsewhere_are_refused(compiled):
    codes, labels, tables = drawn(8, 6, 2, 6)
    labels[3] = 2
    with pytest.raises(IndexError, match=r"labels\[3\] is 2"):
        sum_by_label(codes, labels, tables, impl="cpp")
    one = np.ones(1, np.int8)
    votes = np.zeros((3, 6, 2), np.int8)
    for neuron in (-1, 6):
        with pytest.raises(IndexError, match=r"neurons\[0\]"):
            votes_by_size(codes, np.array([neuron]), one, votes, [1], impl="cpp")
    with pytest.raises(IndexError, match=r"sizes\[0\] is 2"):
        votes_by_size(codes, np.array([0]), one, votes, [2], impl="cpp")
    with pytest.raises(ValueError, match="expected auto, cpp, reference"):
        sum_by_label(codes, labels, tables, impl="fast")


def test_threads_do_not_change_counts(compiled, monkeypatch):
    codes, labels, tables = drawn(50, 9000, 4, 120)
    truth = sum_by_label(codes, labels, tables, impl="reference")
    for threads in (1, 3):
        monkeypatch.setattr("torch.get_num_threads", lambda n=threads: n)
        np.testing.assert_array_equal(sum_by_label(codes, labels, tables, impl="cpp"), truth)
    assert _ext.kernels() is not None
