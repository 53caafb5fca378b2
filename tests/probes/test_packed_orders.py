"""Packed score orders against sorting the scores themselves."""

from math import factorial

import numpy as np
import pytest

from neurgrad.features import PackedScores, packed
from neurgrad.features.orders import order_table, ordinal_scores


def hostile_scores(Q, K, N, seed=0, dtype=np.float32):
    """Gaussian scores with exact zeros, negative zeros, equal labels and all-zero neurons."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((Q, K, N)).astype(dtype)
    kind = rng.integers(0, 8, (Q, N))
    scores[:, 0][kind == 1] = 0.0
    scores[:, -1][kind == 2] = -0.0
    scores[:, 1][kind == 3] = scores[:, 0][kind == 3]
    scores.swapaxes(1, 2)[kind == 4] = 0.0
    coarse = rng.integers(-1, 2, (Q, K, N)).astype(dtype)
    return np.where((kind == 5)[:, None], coarse, scores)


@pytest.fixture(params=[1, 1 << 25], ids=["one-row-blocks", "one-block"])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(packed, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("n_labels", [2, 3, 4, 5, 7])
@pytest.mark.usefixtures("block_bytes")
def test_every_reading_equals_the_scores_own(n_labels):
    scores = hostile_scores(17, n_labels, 53)
    gold = np.random.default_rng(1).integers(0, n_labels, 17)
    store = PackedScores.encode(scores)
    assert store.codes.dtype == (np.uint8 if n_labels <= 4 else np.uint16)
    assert store.shape == scores.shape
    np.testing.assert_array_equal(store.signs(), np.sign(scores))
    np.testing.assert_array_equal(store.argmax(), scores.argmax(axis=1))
    np.testing.assert_array_equal(store.argmin(), scores.argmin(axis=1))
    gold_scores = scores[np.arange(17), gold]
    np.testing.assert_array_equal(store.rank(gold), (scores > gold_scores[:, None]).sum(axis=1))


@pytest.mark.parametrize("n_labels", [2, 3, 4, 5])
def test_ordinals_compare_as_the_scores_do(n_labels):
    scores = hostile_scores(9, n_labels, 31, seed=2)
    ordinals = PackedScores.encode(scores).ordinals()
    for a in range(n_labels):
        for b in range(n_labels):
            np.testing.assert_array_equal(
                np.sign(ordinals[:, a] - ordinals[:, b]), np.sign(scores[:, a] - scores[:, b])
            )


@pytest.mark.parametrize("n_labels", [2, 3, 4, 5])
def test_codes_are_the_stable_argsorts_of_labels_and_zero(n_labels):
    scores = hostile_scores(40, n_labels, 200, seed=3)
    store = PackedScores.encode(scores)
    items = np.concatenate([scores, np.zeros((40, 1, 200), np.float32)], axis=1)
    by_sorting = np.argsort(-items, axis=1, kind="stable")
    np.testing.assert_array_equal(order_table(n_labels)[store.codes], np.moveaxis(by_sorting, 1, 2))
    assert len(np.unique(order_table(n_labels), axis=0)) == factorial(n_labels + 1)


def test_ties_are_listed_exactly_and_in_order():
    scores = hostile_scores(13, 4, 60, seed=4)
    ties = PackedScores.encode(scores).ties
    items = np.concatenate([scores, np.zeros((13, 1, 60), np.float32)], axis=1)
    is_tied = np.array(
        [[len(set(items[q, :, n].tolist())) < 5 for n in range(60)] for q in range(13)]
    )
    np.testing.assert_array_equal(np.stack([ties.prompt, ties.neuron]), np.nonzero(is_tied))


def test_all_equal_scores_decode_to_zero():
    assert not ordinal_scores(np.array([0]), np.array([0b1111], np.uint8), 4).any()


@pytest.mark.parametrize(
    "rows",
    [
        slice(3, 11),
        slice(None, None, -2),
        np.array([5, 0, 5, -1]),
        np.arange(16) % 3 == 0,
        np.array([], int),
    ],
    ids=["slice", "reversed", "repeated", "mask", "none"],
)
def test_choosing_prompts(rows):
    scores = hostile_scores(16, 3, 40, seed=5)
    chosen = PackedScores.encode(scores)[rows]
    np.testing.assert_array_equal(chosen.signs(), np.sign(scores[rows]))
    np.testing.assert_array_equal(chosen[:, ...].argmin(), scores[rows].argmin(axis=1))


def test_choosing_neurons_in_another_order():
    scores = hostile_scores(16, 3, 40, seed=6)
    neurons = np.random.default_rng(6).permutation(40)[:15]
    chosen = PackedScores.encode(scores).columns(neurons)
    np.testing.assert_array_equal(chosen.signs(), np.sign(scores[:, :, neurons]))
    np.testing.assert_array_equal(chosen[4:9].signs(), np.sign(scores[4:9, :, neurons]))


@pytest.mark.usefixtures("block_bytes")
def test_blocks_cover_the_store_once():
    scores = hostile_scores(11, 4, 30, seed=7)
    store = PackedScores.encode(scores)
    seen = np.zeros(11, int)
    for rows, block in store.blocks():
        seen[rows] += 1
        np.testing.assert_array_equal(block.argmin(), scores[rows].argmin(axis=1))
    assert (seen == 1).all()


def test_codes_may_lie_in_a_file(tmp_path):
    scores = hostile_scores(11, 4, 30, seed=8)
    store = PackedScores.encode(scores)
    np.save(tmp_path / "codes.npy", store.codes)
    mapped = PackedScores(np.load(tmp_path / "codes.npy", mmap_mode="r"), 4, store.ties)
    np.testing.assert_array_equal(mapped.signs(), np.sign(scores))


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(ValueError, match=r"expected \[prompts, labels, neurons\]"):
        PackedScores.encode(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="2 to 7 labels, got 8"):
        PackedScores.encode(np.zeros((3, 8, 4)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        PackedScores.encode(np.full((3, 2, 4), np.nan))
    store = PackedScores.encode(np.ones((3, 2, 4)))
    with pytest.raises(ValueError, match="expected one a prompt"):
        store.rank([0, 1])
    with pytest.raises(IndexError):
        store[5]
