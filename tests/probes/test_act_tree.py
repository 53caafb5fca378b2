"""ActProbe against loops, TreeProbe against the forest it holds."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from neurgrad.features import PackedScores
from neurgrad.probes import ActProbe, TreeProbe, activation, tree_features


def act_by_recursion(X, y, classes, n, test):
    """Predictions for the rows of ``test``: one binary probe, then one half for each row."""
    if len(classes) == 1:
        return [classes[0]] * len(test)
    right = classes[len(classes) // 2 :]
    target = [label in right for label in y]
    nodes = []
    for neuron in range(X.shape[1]):
        mean = sum(float(a) for a in X[:, neuron]) / len(X)
        hits = sum((X[q, neuron] > mean) == target[q] for q in range(len(X)))
        nodes.append((-abs(2 * hits - len(X)), neuron, mean, 2 * hits > len(X)))
    chosen = sorted(nodes)[:n]
    predictions = [None] * len(test)
    for side, half in ((False, classes[: len(classes) // 2]), (True, right)):
        kept = [q for q in range(len(X)) if target[q] == side]
        routed = []
        for i, row in enumerate(test):
            for_right = sum((row[neuron] > mean) == up for _, neuron, mean, up in chosen)
            if (for_right > n - for_right) == side:
                routed.append(i)
        below = act_by_recursion(X[kept], [y[q] for q in kept], half, n, test[routed])
        for i, label in zip(routed, below, strict=True):
            predictions[i] = label
    return predictions


@pytest.mark.parametrize("n_labels", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("n_neurons", [1, 4, 7])
@pytest.mark.parametrize("block_bytes", [1, 1 << 25])
def test_act_equals_the_recursion(n_labels, n_neurons, block_bytes, monkeypatch):
    monkeypatch.setattr(activation, "BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(n_labels)
    labels = np.array(list("fedcba"))[:n_labels]
    y = labels[np.arange(60) % n_labels]
    X = rng.standard_normal((60, 12)) + (y[:, None] == labels[rng.integers(0, 2, 12)])
    X = np.round(8 * X) / 8  # eighths add up exactly, so both sides have the same means
    probe = ActProbe(n_neurons=n_neurons).fit(X[:45], y[:45])
    expected = act_by_recursion(X[:45], y[:45].tolist(), sorted(labels.tolist()), n_neurons, X)
    np.testing.assert_array_equal(probe.predict(X), expected)
    assert probe.neurons_.shape == (n_labels - 1, n_neurons)
    assert probe.scores_.shape == (n_labels - 1, 12)


def test_act_halves_five_labels_as_the_paper_does():
    X, y = np.random.default_rng(0).standard_normal((50, 6)), np.arange(50) % 5 + 1
    probe = ActProbe(n_neurons=2).fit(X, y)
    halves = [
        (probe.classes_[a:m].tolist(), probe.classes_[m:b].tolist()) for a, m, b in probe.splits_
    ]
    assert halves == [([1, 2], [3, 4, 5]), ([1], [2]), ([3], [4, 5]), ([4], [5])]


def test_act_ties_go_to_the_first_label_and_the_lowest_neuron():
    a = np.array([0.0, 0.0, 1.0, 1.0])
    X = np.column_stack([a[[0, 2, 1, 3]], a, -a, a])
    probe = ActProbe(n_neurons=2).fit(X, [0, 0, 1, 1])
    assert probe.scores_.tolist() == [[0.0, 0.5, -0.5, 0.5]]
    assert probe.neurons_.tolist() == [[1, 2]]
    assert probe.polarity_.tolist() == [[1, -1]]
    everyone = ActProbe().fit(X, [0, 0, 1, 1])
    assert everyone.neurons_.tolist() == [[1, 2, 3, 0]]
    assert everyone.polarity_.tolist() == [[1, -1, 1, -1]]
    assert probe.predict([[0, 1, 1, 1], [0, 1, -1, 0], [0, 0, 0, 0]]).tolist() == [0, 1, 0]


def test_act_refuses_more_neurons_than_exist():
    with pytest.raises(ValueError, match="n_neurons is 4 but X has only 3 neurons"):
        ActProbe(n_neurons=4).fit(np.eye(3), [0, 1, 0])


@pytest.mark.parametrize("form", [np.asarray, PackedScores.encode], ids=["float", "packed"])
@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_tree_features_equal_the_loops(form, n_labels):
    X = np.round(np.random.default_rng(n_labels).standard_normal((20, n_labels, 30)))
    features = tree_features(form(X))
    assert features.dtype == np.int8
    for q in range(20):
        for n in range(30):
            row = X[q, :, n].tolist()
            expected = int(row[0] > row[1]) if n_labels == 2 else row.index(max(row))
            assert features[q, n] == expected


def test_tree_features_refuse_other_shapes():
    with pytest.raises(ValueError, match=r"expected \[prompts, labels, neurons\]"):
        tree_features(np.zeros((3, 4)))


def test_tree_is_the_forest_of_the_paper():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 80)
    X = np.where(rng.random((80, 25)) < 0.5, y[:, None], rng.integers(0, 4, (80, 25)))
    probe = TreeProbe().fit(X[:60], y[:60])
    forest = RandomForestClassifier(n_estimators=100, random_state=42).fit(X[:60], y[:60])
    np.testing.assert_array_equal(probe.predict(X), forest.predict(X))
    np.testing.assert_array_equal(probe.scores_, forest.feature_importances_)
    used = set()
    for tree in forest.estimators_:
        used.update(feature for feature in tree.tree_.feature.tolist() if feature >= 0)
    assert probe.neurons_.tolist() == sorted(used)


def test_a_stump_names_its_only_neuron():
    X = np.array([[0, 0], [1, 0], [0, 0], [1, 0]])
    probe = TreeProbe(n_estimators=8, max_depth=1).fit(X, [5, 9, 5, 9])
    assert probe.neurons_.tolist() == [0]
    assert probe.predict(X).tolist() == [5, 9, 5, 9]
