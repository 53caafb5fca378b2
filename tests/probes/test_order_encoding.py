"""Codes found on the scores' device, and their planes, against numpy's, bit by bit."""

import numpy as np
import pytest
import torch
from test_packed_orders import hostile_scores

from neurgrad.features import PackedScores
from neurgrad.features.encoding import OrderBatch, encode_orders
from neurgrad.features.orders import encode_orders as encode_in_numpy
from neurgrad.features.planes import join_planes, split_planes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_labels", [2, 3, 4, 5, 6, 7])
def test_codes_are_numpys(n_labels, dtype):
    scores = hostile_scores(9, n_labels, 301, seed=n_labels, dtype=dtype)
    codes, tied = encode_orders(torch.from_numpy(scores))
    expected, expected_tied = encode_in_numpy(scores)
    np.testing.assert_array_equal(codes.numpy().view(expected.dtype), expected)
    np.testing.assert_array_equal(tied.numpy(), expected_tied)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_finds_the_same_codes():
    for n_labels in range(2, 8):
        scores = torch.from_numpy(hostile_scores(9, n_labels, 301, seed=n_labels))
        for found, expected in zip(
            encode_orders(scores.cuda()), encode_orders(scores), strict=True
        ):
            assert found.is_cuda
            assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("n_labels", [2, 4, 5])
def test_blocks_in_any_order_make_the_same_batch(n_labels):
    scores = hostile_scores(11, n_labels, 60, seed=1)
    batch = OrderBatch(*scores.shape)
    for prompts in (slice(6, 11), slice(0, 6)):
        for neurons in (slice(40, 60), slice(0, 25), slice(25, 40)):
            batch.add(prompts, neurons, torch.from_numpy(scores[prompts, :, neurons]))
    found, expected = batch.finish(), PackedScores.encode(scores)
    assert found.codes.dtype == expected.codes.dtype
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert len(expected.ties)
    for part in ("prompt", "neuron", "equal"):
        of_found, of_expected = getattr(found.ties, part), getattr(expected.ties, part)
        assert of_found.dtype == of_expected.dtype
        np.testing.assert_array_equal(of_found, of_expected)


def test_scores_without_an_order_are_refused():
    batch = OrderBatch(2, 2, 3)
    with pytest.raises(ValueError, match="NaN or infinity"):
        batch.add(slice(0, 2), slice(0, 3), torch.full((2, 2, 3), torch.inf))


@pytest.mark.parametrize("n_neurons", [1, 3, 4, 5, 8, 61])
def test_planes_hold_every_code(n_neurons):
    codes = np.resize(np.random.default_rng(0).permutation(1024), (40, n_neurons))
    codes = codes.astype(np.uint16)
    low, high = split_planes(codes)
    assert (low.dtype, high.dtype) == (np.uint8, np.uint8)
    assert high.shape == (40, -(-n_neurons // 4))
    np.testing.assert_array_equal(join_planes(low, high), codes)
    # As the module says it, one neuron at a time.
    n = n_neurons - 1
    slowly = low[:, n].astype(int) + 256 * (high[:, n // 4].astype(int) >> 2 * (n % 4) & 3)
    np.testing.assert_array_equal(slowly, codes[:, n])
