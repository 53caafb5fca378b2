"""The probes as scikit-learn estimators, and the two baselines."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurgrad.features import PackedScores
from neurgrad.probes import ActProbe, LMProbProbe, MagnProbe, PolarProbe, RandomProbe, TreeProbe

# The checks that feed an estimator no 2-D data; what the others look for in fit and predict is
# asked of 3-D scores in test_polar_magn.py.
CHECKS_WITHOUT_DATA = [
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
]


@pytest.mark.filterwarnings("ignore:X has .* columns and y has:UserWarning")
@parametrize_with_checks([TreeProbe(n_estimators=10), ActProbe(), LMProbProbe(), RandomProbe()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", CHECKS_WITHOUT_DATA)
@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_scikit_learn_checks_without_data(kind, check):
    getattr(estimator_checks, check)(kind.__name__, kind())


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_fitting_keeps_parameters_and_returns_self(kind):
    X, y = np.random.default_rng(0).standard_normal((9, 3, 5)), np.arange(9) % 3
    probe = kind(n_neurons=2, negatives=False)
    with pytest.raises(NotFittedError):
        probe.predict(X)
    assert probe.fit(X, y) is probe
    learned = dict(vars(probe))
    probe.predict(X)
    assert vars(probe) == learned
    assert probe.get_params() == clone(probe).get_params()
    assert not hasattr(clone(probe), "scores_")
    assert probe.n_features_in_ == 5


@pytest.mark.parametrize("form", [np.asarray, PackedScores.encode], ids=["float", "packed"])
@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_grid_search_on_a_predefined_split(kind, form):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 60)
    X = rng.standard_normal((60, 3, 40))
    X[np.arange(60), y, :6] += 1.0
    split = PredefinedSplit(np.repeat([-1, 0], [40, 20]))
    sizes = [1, 2, 4, 8, 16, 32]
    search = GridSearchCV(kind(), {"n_neurons": sizes}, cv=split, error_score="raise")
    search.fit(form(X), y)
    by_size = kind().fit(X[:40], y[:40]).accuracy_by_size(X[40:], y[40:], sizes)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], list(by_size.values()))
    assert search.best_params_["n_neurons"] == max(by_size, key=by_size.get)
    assert search.predict(form(X)).shape == (60,)


def test_lm_prob_takes_the_likeliest_label():
    X = np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
    probe = LMProbProbe().fit(X, [1, 0, 2, 0])
    assert probe.predict(X).tolist() == [1, 0, 2, 1]
    assert probe.score(X, [1, 0, 2, 0]) == 0.75
    named = LMProbProbe(labels=["no", "yes", "maybe"]).fit(X, ["yes", "no", "maybe", "no"])
    assert named.predict(X).tolist() == ["yes", "no", "maybe", "yes"]


def test_lm_prob_keeps_columns_apart_when_a_label_is_missing_in_training():
    X = np.eye(4)[[0, 2, 3]] + 0.1
    probe = LMProbProbe().fit(X, [0, 2, 3])
    assert probe.predict(X).tolist() == [0, 2, 3]


def test_lm_prob_refuses_labels_that_do_not_fit():
    X = np.eye(3)
    with pytest.raises(ValueError, match="'perhaps', which is none of the labels"):
        LMProbProbe(labels=["no", "yes", "maybe"]).fit(X, ["no", "yes", "perhaps"])
    with pytest.raises(ValueError, match="do not name the 3 columns"):
        LMProbProbe(labels=["no", "yes"]).fit(X, ["no", "yes", "no"])
    with pytest.warns(UserWarning, match="X has 3 columns and y has 2 labels"):
        LMProbProbe().fit(X, ["no", "yes", "no"])


def test_random_draws_are_even_repeatable_and_score_chance():
    X = np.random.default_rng(0).standard_normal((4000, 2, 3))
    y = np.arange(4000) % 4
    probe = RandomProbe().fit(X, y)
    drawn = probe.predict(X)
    assert np.bincount(drawn).min() > 900  # 1,000 expected, standard deviation 27
    np.testing.assert_array_equal(probe.predict(X[::-1]), drawn[::-1])
    assert (RandomProbe(random_state=7).fit(X, y).predict(X) != drawn).mean() > 0.7
    assert probe.score(X, y) == probe.chance_ == 0.25
