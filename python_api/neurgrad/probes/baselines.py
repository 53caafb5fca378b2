"""Baselines that read no neuron: the model's own label probabilities, and chance."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from neurgrad.probes.inputs import activations_of, probabilities_of


class LMProbProbe(ClassifierMixin, BaseEstimator):
    """The label whose token the model itself finds likeliest, the first column among equals.

    Nothing is learned but which label a column of X stands for.

    Parameters
    ----------
    labels : sequence, optional
        Label of each column of X. By default column j stands for label j when y holds integers
        from 0 to K - 1, and for the j-th label seen in training otherwise; then a column without
        a label is left out, with a warning. Labels not seen in training are never predicted.

    Attributes
    ----------
    classes_ : array
        Labels seen in training, sorted.
    columns_ : int array
        Column of X for each class that has one, in the order of `classes_`.
    n_features_in_ : int
        K.
    """

    def __init__(self, labels: Any = None) -> None:
        self.labels = labels

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn which column stands for which label.

        Parameters
        ----------
        X : array [Q, K], or Gradients
            Probability (or log-probability) of each label's token.
        y : array [Q]
            Gold labels.

        Raises
        ------
        ValueError
            Wrong shapes, NaN, or a label in y that ``labels`` does not have.
        """
        probabilities, gold = validate_data(self, probabilities_of(X), y)
        check_classification_targets(gold)
        self.classes_ = np.unique(gold)
        self.columns_ = self._match_columns(probabilities.shape[1])
        return self

    def predict(self, X: ArrayLike) -> NDArray:
        """Label of the largest column, [Q]."""
        check_is_fitted(self)
        probabilities = validate_data(self, probabilities_of(X), reset=False)
        by_column = np.argsort(self.columns_)
        best = probabilities[:, self.columns_[by_column]].argmax(axis=1)
        return self.classes_[by_column[best]]

    def _match_columns(self, n_columns: int) -> NDArray[np.intp]:
        classes = self.classes_
        if self.labels is not None:
            labels = list(self.labels)
            if len(labels) != n_columns or len(set(labels)) != n_columns:
                raise ValueError(
                    f"labels {labels} do not name the {n_columns} columns of X one by one"
                )
            unknown = [label for label in classes.tolist() if label not in labels]
            if unknown:
                raise ValueError(
                    f"y holds {unknown[0]!r}, which is none of the labels {labels} of X's columns"
                )
            return np.array([labels.index(label) for label in classes.tolist()], np.intp)
        if classes.dtype.kind in "iub" and classes[0] >= 0 and classes[-1] < n_columns:
            return classes.astype(np.intp)
        if len(classes) != n_columns:
            warnings.warn(
                f"X has {n_columns} columns and y has {len(classes)} labels; only the first "
                f"{min(n_columns, len(classes))} are used. Pass labels= to name the columns.",
                UserWarning,
                stacklevel=3,
            )
        return np.arange(min(n_columns, len(classes)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # it is as good as the model, whatever y says
        return tags


class RandomProbe(ClassifierMixin, BaseEstimator):
    """Chance: every label equally often, and a score of exactly 1 / K.

    Predictions are drawn from a hash of the prompt's row and the seed, so a prompt keeps its draw
    in any order and any batch. `score` is their expected accuracy rather than one draw's.

    Parameters
    ----------
    random_state : int
        Seed of the draws.

    Attributes
    ----------
    classes_ : array [K]
        Labels seen in training, sorted.
    chance_ : float
        1 / K.
    n_features_in_ : int
        Columns of X.
    """

    def __init__(self, random_state: int = 42) -> None:
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the labels, X [Q, ...] and y [Q]."""
        _, gold = validate_data(self, activations_of(X), y, allow_nd=True)
        check_classification_targets(gold)
        self.classes_ = np.unique(gold)
        self.chance_ = 1 / len(self.classes_)
        return self

    def predict(self, X: ArrayLike) -> NDArray:
        """Draw a label for every prompt, [Q]."""
        check_is_fitted(self)
        prompts = validate_data(self, activations_of(X), allow_nd=True, reset=False)
        rows = np.ascontiguousarray(prompts, np.float64)
        seed = int(self.random_state).to_bytes(8, "little", signed=True)
        draws = [
            int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8, key=seed).digest())
            for row in rows
        ]
        return self.classes_[np.array([draw % len(self.classes_) for draw in draws], np.intp)]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the expected accuracy of a random answer: 1 / K where y holds known labels."""
        check_is_fitted(self)
        validate_data(self, activations_of(X), allow_nd=True, reset=False)
        known = np.isin(np.asarray(y), self.classes_).astype(np.float64)
        weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)
        return float(np.average(known, weights=weight)) * self.chance_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags
