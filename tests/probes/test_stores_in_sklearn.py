"""Probes read gradients as the engine returns them, and stores as scikit-learn splits them."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_score

from negkernel import Engine, Gradients
from neurgrad import Prompt, demo, mceval8k
from neurgrad.features import FeatureStore, collect_prompts
from neurgrad.features.selected import select
from neurgrad.probes import ActProbe, LMProbProbe, MagnProbe, PolarProbe, RandomProbe, TreeProbe


@pytest.fixture(scope="module")
def engine() -> Engine:
    return demo.load("causal")


@pytest.fixture(scope="module")
def asked() -> list[Prompt]:
    facts = demo.prompts("causal")
    facts = facts[facts["relation"] == facts["relation"].iloc[0]].sample(24, random_state=0)
    answers = sorted(facts["answer"].unique())
    rng = np.random.default_rng(0)
    prompts = []
    for prompt, answer in zip(facts["prompt"], facts["answer"], strict=True):
        other = next(word for word in rng.permutation(answers) if word != answer)
        labels = (answer, str(other)) if rng.random() < 0.5 else (str(other), answer)
        prompts.append(Prompt(prompt, labels, labels.index(answer)))
    return prompts


@pytest.fixture(scope="module")
def gradients(engine: Engine, asked: list[Prompt]) -> Gradients:
    return engine.gradients([one.text for one in asked], [list(one.labels) for one in asked])


@pytest.fixture(scope="module")
def store(engine: Engine, asked: list[Prompt], tmp_path_factory) -> FeatureStore:
    return collect_prompts(engine, asked, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def gold(asked: list[Prompt]) -> np.ndarray:
    return np.array([one.gold for one in asked])


def floats(gradients: Gradients) -> np.ndarray:
    scores = gradients.neurgrad()
    return scores.reshape(*scores.shape[:2], -1)


@pytest.mark.parametrize("probe", [PolarProbe(64), MagnProbe(64), TreeProbe(10)])
def test_gradients_arrays_and_stores_give_the_same_probe(
    probe, gradients: Gradients, store: FeatureStore, gold: np.ndarray
):
    X = floats(gradients)
    if isinstance(probe, TreeProbe):
        X = (X[:, 0] > X[:, 1]).astype(np.int8)
    expected = probe.fit(X, gold).predict(X)
    for given in (gradients, store, list(gradients)):
        np.testing.assert_array_equal(probe.fit(given, gold).predict(given), expected)
    for cv in (3, KFold(4, shuffle=True, random_state=0), ShuffleSplit(3, random_state=1)):
        scores = cross_val_score(probe, X, gold, cv=cv)
        for given in (gradients, store):
            np.testing.assert_allclose(cross_val_score(probe, given, gold, cv=cv), scores)


def test_the_number_of_neurons_is_searched_for(
    gradients: Gradients, store: FeatureStore, gold: np.ndarray
):
    sizes = {"n_neurons": [1, 16, 256]}
    found = [
        GridSearchCV(PolarProbe(), sizes, cv=3).fit(X, gold).cv_results_["mean_test_score"]
        for X in (floats(gradients), gradients, store)
    ]
    np.testing.assert_allclose(found[1], found[0])
    np.testing.assert_allclose(found[2], found[0])


def test_baselines_read_what_they_need(gradients: Gradients, gold: np.ndarray):
    activation = gradients.activation.reshape(len(gradients), -1)
    for probe, X in (
        (ActProbe(8), activation),
        (LMProbProbe(), gradients.prob),
        (RandomProbe(), activation),
    ):
        expected = probe.fit(X, gold).predict(X)
        np.testing.assert_array_equal(probe.fit(gradients, gold).predict(gradients), expected)
        assert len(cross_val_score(probe, gradients, gold, cv=3)) == 3


def test_chosen_rows_of_a_store_are_those_rows(store: FeatureStore):
    whole = store.load()
    for rows in (
        slice(3, 9),
        [1, 5, 6],
        [6, 1, 1, 5],
        np.arange(24) % 2 == 0,
        (np.array([2]), ...),
    ):
        chosen = select(store, rows)
        plain = whole[rows]
        codes = np.concatenate([block.codes for _, block in chosen.blocks()])
        np.testing.assert_array_equal(codes, plain.codes)
        covered = [row for span, _ in chosen.blocks() for row in range(span.start, span.stop)]
        assert covered == list(range(chosen.n_prompts)) == list(range(len(codes)))
    nested = store[4:20][np.array([0, 3, 5])]
    np.testing.assert_array_equal(next(iter(nested.blocks()))[1].codes, whole[[4, 7, 9]].codes)
    for wrong in ([99], [], 1.5, np.eye(2, dtype=int)):
        with pytest.raises(IndexError):
            store[wrong]


def test_gradients_of_one_label_are_refused(engine: Engine, gold: np.ndarray):
    one = engine.gradients(["The capital of France is"] * 24, ["Paris"] * 24)
    with pytest.raises(ValueError, match=r"expected \[prompts, labels, neurons\]"):
        PolarProbe().fit(one, gold)


def test_a_prompt_is_public_and_checked():
    assert mceval8k.Prompt is Prompt
    assert Prompt("Is it?", ("no", "yes"), 1).answer == "yes"
    for wrong in (("x", ("a",), 0), ("x", "ab", 0), ("", ("a", "b"), 0), ("x", ("a", 1), 0)):
        with pytest.raises(ValueError, match="expected"):
            Prompt(*wrong)
    for gold in (2, -1):
        with pytest.raises(IndexError, match="expected 0 <= gold < 2"):
            Prompt("x", ("a", "b"), gold)
