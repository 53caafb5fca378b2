"""Act-Probe: the activation baseline, neurons that fire above their mean for one label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from neurgrad.features.packed import BLOCK_BYTES
from neurgrad.probes.inputs import activations_of
from neurgrad.probes.ranking import check_n_neurons, check_sizes, top_neurons


class ActProbe(ClassifierMixin, BaseEstimator):
    """Majority vote on activations, two labels at a time.

    For two labels a neuron's threshold is its mean over the training prompts and its accuracy that
    of ``[a > threshold] == [y is the second label]``. The top n by ``|accuracy - 0.5|`` vote with
    polarity 1 above one half and -1 otherwise (which turns the vote), and the second label is
    predicted when strictly more than half of them vote for it.

    More labels are halved in sorted order, ``K // 2`` to the left, and each half again on the
    prompts whose gold label lies in it: a binary tree of K - 1 such votes, each with n neurons of
    its own. Prompts are routed by the predictions, in training as in test.

    Parameters
    ----------
    n_neurons : int, optional
        How many neurons vote at each node; all of them by default.

    Attributes
    ----------
    classes_ : array [K]
        Labels seen in training, sorted.
    splits_ : int array [K - 1, 3]
        Nodes from the root, left half first: (start, middle, stop) for the node that separates
        ``classes_[start:middle]`` from ``classes_[middle:stop]``.
    scores_ : float array [K - 1, N]
        Accuracy of each neuron at each node, less one half.
    neurons_ : int array [K - 1, n]
        Flat indices of each node's neurons, best first, the lowest index among equals.
    polarity_ : int8 array [K - 1, n]
    thresholds_ : float array [K - 1, n]
        In the units of X.
    n_features_in_ : int
        N.

    References
    ----------
    Wang et al., Finding Skill Neurons in Pre-trained Transformer-based Language Models,
    EMNLP 2022.
    """

    def __init__(self, n_neurons: int | None = None) -> None:
        self.n_neurons = n_neurons

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Choose each node's neurons.

        Parameters
        ----------
        X : array [Q, N], or Gradients
            Activations at the probed position.
        y : array [Q]
            Gold labels.

        Raises
        ------
        ValueError
            Wrong shapes, NaN, or more neurons asked for than exist.
        """
        activations, gold = validate_data(
            self, activations_of(X), y, dtype=(np.float64, np.float32)
        )
        check_classification_targets(gold)
        n_available = activations.shape[1]
        n_neurons = check_n_neurons(self.n_neurons, n_available)
        self.classes_, index = np.unique(gold, return_inverse=True)
        splits = list(_halvings(0, len(self.classes_)))
        self.splits_ = np.array(splits, np.intp).reshape(-1, 3)
        self.scores_ = np.empty((len(splits), n_available))
        self.neurons_ = np.empty((len(splits), n_neurons), np.intp)
        self.polarity_ = np.empty((len(splits), n_neurons), np.int8)
        self.thresholds_ = np.empty((len(splits), n_neurons))
        for node, (start, middle, stop) in enumerate(splits):
            prompts = np.flatnonzero((index >= start) & (index < stop))
            second = index[prompts] >= middle
            means, scores = _threshold_accuracy(activations, prompts, second)
            chosen = top_neurons(scores, n_neurons)
            self.scores_[node], self.neurons_[node] = scores, chosen
            self.polarity_[node] = np.where(scores[chosen] > 0, 1, -1)
            self.thresholds_[node] = means[chosen]
        return self

    def predict(self, X: ArrayLike) -> NDArray:
        """Label that each prompt is routed to, [Q]."""
        check_is_fitted(self)
        activations = validate_data(
            self, activations_of(X), dtype=(np.float64, np.float32), reset=False
        )
        return self.classes_[self._route(activations, self.neurons_.shape[1])]

    def accuracy_by_size(
        self, X: ArrayLike, y: ArrayLike, sizes: Sequence[int] | None = None
    ) -> dict[int, float]:
        """Accuracy of the best 1, 2, 4, ... of the fitted neurons at each node.

        Parameters
        ----------
        X, y
            As in `fit`.
        sizes : ints, optional
            Default: the powers of two up to 2^13 that were fitted.

        Returns
        -------
        dict
            Accuracy of each size, sizes ascending.
        """
        check_is_fitted(self)
        activations = validate_data(
            self, activations_of(X), dtype=(np.float64, np.float32), reset=False
        )
        gold = np.asarray(y)
        return {
            size: float((self.classes_[self._route(activations, size)] == gold).mean())
            for size in check_sizes(sizes, self.neurons_.shape[1])
        }

    def _route(self, activations: NDArray, n_neurons: int) -> NDArray[np.intp]:
        """Index of the label that each prompt is routed to by the first neurons of every node."""
        label = np.zeros(len(activations), np.intp)
        stop_at = np.full(len(activations), len(self.classes_))
        for node, (start, middle, stop) in enumerate(self.splits_):
            prompts = np.flatnonzero((label == start) & (stop_at == stop))
            chosen = activations[np.ix_(prompts, self.neurons_[node, :n_neurons])]
            above = chosen > self.thresholds_[node, :n_neurons]
            votes = (above == (self.polarity_[node, :n_neurons] > 0)).sum(axis=1)
            right = 2 * votes > n_neurons
            label[prompts[right]] = middle
            stop_at[prompts[~right]] = middle
        return label

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # one threshold a neuron: blobs in a plane defeat it
        return tags


def _halvings(start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Nodes (start, middle, stop) of the tree over ``range(start, stop)``, parents first."""
    if stop - start < 2:
        return
    middle = start + (stop - start) // 2
    yield start, middle, stop
    yield from _halvings(start, middle)
    yield from _halvings(middle, stop)


def _threshold_accuracy(
    activations: NDArray, prompts: NDArray[np.intp], target: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [N] of each neuron over the prompts, and accuracy less 1/2 [N] of being above it.

    The accuracy comes from one integer, hits less misses, so that neurons that are right and wrong
    equally often tie exactly.
    """
    N = activations.shape[1]
    means, scores = np.empty(N), np.empty(N)
    step = max(1, BLOCK_BYTES // (8 * len(prompts)))
    for first in range(0, N, step):
        block = activations[prompts, first : first + step]
        mean = block.mean(axis=0, dtype=np.float64)
        hits = ((block > mean) == target[:, None]).sum(axis=0)
        means[first : first + step] = mean
        scores[first : first + step] = (2 * hits - len(prompts)) / (2 * len(prompts))
    return means, scores
