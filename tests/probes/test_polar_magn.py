"""PolarProbe and MagnProbe against their formulas written as loops."""

import pickle
import tracemalloc

import numpy as np
import pytest

from neurgrad.features import PackedScores, packed
from neurgrad.probes import MagnProbe, PolarProbe


def sgn(value):
    return int(value > 0) - int(value < 0)


def rank_by_loops(kind, X, y, n, negatives):
    """Scores, neurons and polarity, as the paper's reference computes them."""
    Q, K, N = X.shape
    scores = []
    for neuron in range(N):
        score = 0
        for q in range(Q):
            gold = X[q, y[q], neuron]
            for k in range(K):
                if kind is MagnProbe:
                    score += sgn(gold - X[q, k, neuron])
                elif k == y[q]:
                    score += sgn(gold)
                else:
                    score -= sgn(X[q, k, neuron])
        scores.append(score)
    strength = [abs(score) if negatives else score for score in scores]
    neurons = sorted(range(N), key=lambda neuron: (-strength[neuron], neuron))[:n]
    polarity = [sgn(scores[neuron]) if negatives else 1 for neuron in neurons]
    return scores, neurons, polarity


def predict_by_loops(kind, X, neurons, polarity, rule="votes"):
    Q, K, _ = X.shape
    predictions = []
    for q in range(Q):
        votes = [0.0] * K
        for neuron, p in zip(neurons, polarity, strict=True):
            turned = [p * float(X[q, k, neuron]) for k in range(K)]
            for k in range(K):
                if kind is PolarProbe:
                    votes[k] += sgn(turned[k])
                elif rule == "sum":
                    votes[k] += turned[k]
                else:
                    votes[k] += turned[k] == max(turned)
        predictions.append(votes.index(max(votes)))
    return predictions


def scores_with_signal(Q, K, N, seed, dtype=np.float32):
    """Some neurons favour the gold label, some the reverse; coarse enough for many ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, Q)
    X = rng.standard_normal((Q, K, N))
    X[np.arange(Q), y] += rng.choice([-0.8, 0.0, 0.8], N)
    X[:, :, ::3] = np.round(X[:, :, ::3])
    X[:, :, 4] = 0.0
    return X.astype(dtype), y


@pytest.fixture(params=["float", "packed", "packed-in-blocks", "float-in-blocks"])
def form(request, monkeypatch):
    """How X reaches the probe: as it is or packed, in one block or one prompt at a time."""
    if request.param.endswith("blocks"):
        monkeypatch.setattr(packed, "BLOCK_BYTES", 1)
    return PackedScores.encode if request.param.startswith("packed") else np.asarray


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
@pytest.mark.parametrize("negatives", [True, False], ids=["both-signs", "positives"])
@pytest.mark.parametrize("n_labels", [2, 3, 4, 5])
def test_fit_and_predict_equal_the_loops(kind, negatives, n_labels, form):
    X, y = scores_with_signal(24, n_labels, 37, seed=n_labels)
    probe = kind(n_neurons=13, negatives=negatives).fit(form(X[:16]), y[:16])
    scores, neurons, polarity = rank_by_loops(kind, X[:16], y[:16], 13, negatives)
    np.testing.assert_array_equal(probe.scores_, scores)
    np.testing.assert_array_equal(probe.neurons_, neurons)
    np.testing.assert_array_equal(probe.polarity_, polarity)
    np.testing.assert_array_equal(probe.classes_, np.arange(n_labels))
    expected = predict_by_loops(kind, X, neurons, polarity)
    np.testing.assert_array_equal(probe.predict(form(X)), expected)
    assert probe.score(form(X), y) == np.mean(np.array(expected) == y)


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_accuracy_by_size_equals_one_fit_a_size(kind, form):
    X, y = scores_with_signal(40, 4, 70, seed=9)
    train, valid = slice(0, 25), slice(25, 40)
    probe = kind(n_neurons=5).fit(form(X[train]), y[train])
    by_size = probe.accuracy_by_size(form(X[valid]), y[valid])
    assert list(by_size) == [1, 2, 4, 8, 16, 32, 64]
    for size, accuracy in by_size.items():
        alone = kind(n_neurons=size).fit(form(X[train]), y[train])
        assert accuracy == alone.score(form(X[valid]), y[valid])
    assert list(probe.accuracy_by_size(form(X), y, sizes=[70, 3, 3])) == [3, 70]


def test_sum_rule_adds_up_the_scores():
    X, y = scores_with_signal(24, 3, 37, seed=10, dtype=np.float64)
    probe = MagnProbe(n_neurons=9, rule="sum").fit(X, y)
    expected = predict_by_loops(MagnProbe, X, probe.neurons_, probe.polarity_, rule="sum")
    np.testing.assert_array_equal(probe.predict(X), expected)
    with pytest.raises(ValueError, match="packed orders hold none"):
        probe.predict(PackedScores.encode(X))
    with pytest.raises(ValueError, match="expected 'votes' or 'sum'"):
        MagnProbe(rule="mean").fit(X, y)


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_float_scores_may_have_more_labels_than_can_be_packed(kind):
    X, y = scores_with_signal(30, 12, 11, seed=11)
    probe = kind(n_neurons=4).fit(X, y)
    scores, neurons, polarity = rank_by_loops(kind, X, y, 4, True)
    np.testing.assert_array_equal(probe.scores_, scores)
    np.testing.assert_array_equal(probe.predict(X), predict_by_loops(kind, X, neurons, polarity))


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_a_label_without_training_prompts_may_still_be_predicted(kind, form):
    X, y = scores_with_signal(40, 3, 30, seed=12)
    seen = y != 2
    probe = kind(n_neurons=10).fit(form(X[seen]), y[seen])
    _, neurons, polarity = rank_by_loops(kind, X[seen], y[seen], 10, True)
    np.testing.assert_array_equal(
        probe.predict(form(X)), predict_by_loops(kind, X, neurons, polarity)
    )


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_neurons_without_evidence_do_not_vote(kind, form):
    X = np.zeros((6, 3, 5), np.float32)
    y = np.array([0, 1, 2, 0, 1, 2])
    probe = kind(n_neurons=3).fit(form(X), y)
    assert probe.neurons_.tolist() == [0, 1, 2]
    assert probe.polarity_.tolist() == [0, 0, 0]
    assert probe.predict(form(X + 1)).tolist() == [0] * 6


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_scores_and_predictions_do_not_depend_on_prompt_order(kind, form):
    X, y = scores_with_signal(30, 4, 30, seed=13)
    turn = np.random.default_rng(0).permutation(30)
    probe, turned = kind(7).fit(form(X), y), kind(7).fit(form(X[turn]), y[turn])
    np.testing.assert_array_equal(probe.scores_, turned.scores_)
    np.testing.assert_array_equal(probe.predict(form(X))[turn], turned.predict(form(X[turn])))
    again = pickle.loads(pickle.dumps(probe))
    np.testing.assert_array_equal(again.predict(form(X)), probe.predict(form(X)))


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_bad_input_is_refused(kind, form):
    X, y = scores_with_signal(12, 3, 10, seed=14)
    scores = form(X)
    with pytest.raises(ValueError, match="n_neurons is 11 but X has only 10 neurons"):
        kind(n_neurons=11).fit(scores, y)
    with pytest.raises(ValueError, match="n_neurons is 0; expected a positive integer"):
        kind(n_neurons=0).fit(scores, y)
    with pytest.raises(ValueError, match="the label 3, out of range for X with 3 labels"):
        kind().fit(scores, np.where(y == 0, 3, y))
    with pytest.raises(ValueError, match="the label -1, out of range"):
        kind().fit(scores, y - 1)
    with pytest.raises(ValueError, match="expected label indices"):
        kind().fit(scores, np.array(list("abc"))[y])
    with pytest.raises(ValueError, match="one label for each of the 12 prompts"):
        kind().fit(scores, y[:-1])
    probe = kind(n_neurons=2).fit(scores, y)
    with pytest.raises(ValueError, match=r"3 labels and 9 neurons; .* fitted on 3 labels and 10"):
        probe.predict(form(X[:, :, :9]))
    with pytest.raises(ValueError, match="only 10 neurons"):
        probe.accuracy_by_size(scores, y, sizes=[2, 16])
    with pytest.raises(ValueError, match="sizes is empty"):
        probe.accuracy_by_size(scores, y, sizes=[])


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_malformed_scores_are_refused(kind):
    X, y = scores_with_signal(12, 3, 10, seed=15)
    for wrong in (X[:, 0], X[:, :1], X[:0], X[:, :, :0]):
        with pytest.raises(ValueError, match=r"expected \[prompts, labels, neurons\]"):
            kind().fit(wrong, y[: len(wrong)])
    X[3, 1, 4] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        kind().fit(X, y)
    with pytest.raises(ValueError, match="expected real scores"):
        kind().fit(X.astype(complex), y)


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_ranking_takes_the_same_scratch_for_more_prompts(kind, monkeypatch):
    monkeypatch.setattr(packed, "BLOCK_BYTES", 1 << 16)

    def scratch(Q):
        rng = np.random.default_rng(16)
        store = PackedScores.encode(rng.standard_normal((Q, 4, 512), np.float32))
        y = rng.integers(0, 4, Q)
        kind().fit(store, y)  # builds the code tables, which stay
        tracemalloc.start()
        kind().fit(store, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = scratch(100), scratch(1600)
    assert many < 1.5 * few + 8 * 1600  # the gold labels themselves are 8 bytes a prompt


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_a_store_needs_only_its_sizes_and_its_blocks(kind):
    class Shards:
        def __init__(self, *shards):
            self.shards = [PackedScores.encode(shard) for shard in shards]
            self.n_prompts = sum(len(shard) for shard in shards)
            _, self.n_labels, self.n_neurons = shards[0].shape

        def blocks(self):
            start = 0
            for shard in self.shards:
                yield slice(start, start + len(shard)), shard
                start += len(shard)

    X, y = scores_with_signal(30, 4, 20, seed=17)
    shards = Shards(X[:7], X[7:8], X[8:])
    probe, alone = kind(5).fit(shards, y), kind(5).fit(X, y)
    np.testing.assert_array_equal(probe.scores_, alone.scores_)
    np.testing.assert_array_equal(probe.predict(shards), alone.predict(X))
    assert probe.accuracy_by_size(shards, y) == alone.accuracy_by_size(X, y)


@pytest.mark.parametrize("probe", [PolarProbe(7), MagnProbe(7), PolarProbe(7, negatives=False)])
def test_a_reduced_probe_reads_only_its_neurons(probe):
    scores = np.random.default_rng(3).standard_normal((30, 3, 40))
    labels = np.arange(30) % 3
    probe.fit(scores[:20], labels[:20])
    own = scores[20:][:, :, probe.neurons_]
    small = probe.reduced()
    np.testing.assert_array_equal(small.votes(own), probe.votes(scores[20:]))
    sizes = [1, 3, 7]
    np.testing.assert_array_equal(
        small.votes_by_size(own, sizes), probe.votes_by_size(scores[20:], sizes)
    )
    with pytest.raises(ValueError, match="40 neurons"):
        small.predict(scores)
