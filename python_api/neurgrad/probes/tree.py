"""Tree-Probe: a random forest on the label that each neuron's gradient favours."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.validation import check_is_fitted, validate_data

from neurgrad.features.packed import OrderStore
from neurgrad.probes.counting import score_blocks
from neurgrad.probes.inputs import check_scores, gradients_of


def tree_features(scores: ArrayLike | OrderStore) -> NDArray[np.int8]:
    """One small integer a prompt and neuron for `TreeProbe`.

    For K > 2 labels the label with the largest gradient, the lowest among equals. For two labels
    ``[g[q, 0] > g[q, 1]]``, as in the authors' code: 1 for label 0, and 0 for label 1 or a tie.

    Parameters
    ----------
    scores : float array [Q, K, N] or packed orders of that shape

    Returns
    -------
    int8 array [Q, N]
    """
    store, (n_prompts, n_labels, n_neurons) = check_scores(scores)
    features = np.empty((n_prompts, n_neurons), np.int8)
    for rows, block in score_blocks(store):
        if n_labels > 2:
            features[rows] = block.argmax(1) if isinstance(block, np.ndarray) else block.argmax()
        else:
            order = block if isinstance(block, np.ndarray) else block.ordinals()
            features[rows] = order[:, 0] > order[:, 1]
    return features


class TreeProbe(ClassifierMixin, BaseEstimator):
    """Random forest on neurons, all of which are offered as features.

    Parameters
    ----------
    n_estimators : int
        Number of trees.
    max_depth : int, optional
        Depth at which trees stop; by default they grow until their leaves are pure, and then they
        know their training rows by heart.
    random_state : int, RandomState or None
        Seed of the bootstrap samples and feature draws.
    n_jobs : int, optional
        Trees grown at once, as in scikit-learn.

    Attributes
    ----------
    forest_ : sklearn.ensemble.RandomForestClassifier
        The fitted forest.
    scores_ : float array [N]
        Impurity-based importance of every neuron.
    neurons_ : int array
        Flat indices of the neurons that some tree splits on, ascending; their number is the
        paper's "#n_neurons".
    classes_ : array [K]
    n_features_in_ : int
        N.

    Notes
    -----
    scikit-learn keeps a float32 copy of X, 4 bytes a prompt and neuron.
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_depth: int | None = None,
        random_state: int | np.random.RandomState | None = 42,
        n_jobs: int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Grow the forest.

        Parameters
        ----------
        X : array [Q, N], Gradients or packed orders [Q, K, N]
            Usually `tree_features`, which are taken of gradients and orders; any numbers will do,
            activations for instance.
        y : array [Q]
            Gold labels.
        """
        features, gold = validate_data(self, _features(X), y, dtype=np.float32)
        self.forest_ = RandomForestClassifier(
            self.n_estimators,
            max_depth=self.max_depth,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        ).fit(features, gold)
        self.classes_ = self.forest_.classes_
        self.scores_ = self.forest_.feature_importances_
        split_on = np.concatenate([tree.tree_.feature for tree in self.forest_.estimators_])
        self.neurons_ = np.unique(split_on[split_on >= 0])
        return self

    def predict(self, X: ArrayLike) -> NDArray:
        """Label that most trees lean to, [Q]."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Mean of the trees' class probabilities, [Q, K]."""
        check_is_fitted(self)
        features = validate_data(self, _features(X), dtype=np.float32, reset=False)
        return self.forest_.predict_proba(features)


def _features(X: Any) -> Any:
    """Return numbers as they are, and tree features of gradients and packed orders."""
    scores = hasattr(X, "blocks") or gradients_of(X) is not None
    return tree_features(X) if scores else X
