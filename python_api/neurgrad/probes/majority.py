"""What PolarProbe and MagnProbe share: rank neurons by summed evidence, predict by their votes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from negkernel.arguments import check_flag
from neurgrad.features.packed import OrderStore
from neurgrad.probes.counting import count_votes, score_blocks, sum_evidence
from neurgrad.probes.inputs import check_labels, check_scores
from neurgrad.probes.ranking import check_n_neurons, check_sizes, top_neurons


class MajorityProbe(ClassifierMixin, BaseEstimator, ABC):
    """A vote of skill neurons; subclasses give the evidence and the vote of one neuron."""

    n_neurons: int | None
    negatives: bool
    scores_: NDArray[np.int64]

    @abstractmethod
    def _evidence(self, scores: NDArray, labels: NDArray[np.integer]) -> NDArray:
        """What each prompt adds to each neuron's ranking score: [Q, K, N], [Q] -> [Q, N]."""

    @abstractmethod
    def _votes(self, scores: NDArray) -> NDArray:
        """Votes for the labels, given scores times polarity: [Q, K, N] -> [Q, K, N]."""

    def _check_parameters(self, packed: bool) -> None:
        """Refuse wrong parameters, and those that need more than the order of scores if packed."""
        check_flag("negatives", self.negatives)

    def fit(self, X: ArrayLike | OrderStore, y: ArrayLike) -> Self:
        """Rank all neurons on the labelled prompts and keep the best.

        Parameters
        ----------
        X : float array [Q, K, N], packed orders of that shape, or Gradients
            Gradient (NeurGrad) of each label's probability with respect to each neuron.
        y : int array [Q]
            Gold labels, indices 0 to K - 1 into the second axis of X.

        Raises
        ------
        ValueError
            Wrong shapes, NaN, labels out of range, or more neurons asked for than exist.
        """
        return self._add(X, y, afresh=True)

    def partial_fit(self, X: ArrayLike | OrderStore, y: ArrayLike) -> Self:
        """Add labelled prompts to those of earlier calls and choose the best neurons again.

        Ranking scores are sums over prompts, so any number of calls, in any order, ends where one
        `fit` on all prompts does.

        Parameters
        ----------
        X, y
            As in `fit`.

        Raises
        ------
        ValueError
            As `fit`, or other labels or neurons than before.
        """
        return self._add(X, y, afresh=not hasattr(self, "scores_"))

    def _add(self, X: ArrayLike | OrderStore, y: ArrayLike, *, afresh: bool) -> Self:
        store, (n_prompts, n_labels, n_available) = check_scores(X)
        self._check_parameters(packed=not isinstance(store, np.ndarray))
        labels = check_labels(y, n_prompts, n_labels)
        n_neurons = check_n_neurons(self.n_neurons, n_available)
        if not afresh:
            self._check_shape([n_labels, n_available])
        scores: NDArray = np.zeros(n_available, np.int64) if afresh else self.scores_.copy()
        for rows, block in score_blocks(store):
            scores += sum_evidence(block, labels[rows], self._evidence)
        self.scores_ = scores
        self.classes_ = np.arange(n_labels)
        self.n_features_in_ = n_available
        self.neurons_, self.polarity_ = self._choose(n_neurons)
        return self

    def predict(self, X: ArrayLike | OrderStore) -> NDArray[np.intp]:
        """Label with the most votes for each prompt, the lowest label among equals, [Q]."""
        best = self.votes(X).argmax(axis=1)
        return self.classes_[best]

    def votes(self, X: ArrayLike | OrderStore) -> NDArray:
        """Votes of the chosen neurons for each label, [Q, K]."""
        check_is_fitted(self)
        return self._count(X, self.neurons_, self.polarity_, [len(self.neurons_)])[:, 0]

    def accuracy_by_size(
        self, X: ArrayLike | OrderStore, y: ArrayLike, sizes: Sequence[int] | None = None
    ) -> dict[int, float]:
        """Accuracy of the best 1, 2, 4, ... neurons, all sizes in one pass over the prompts.

        The ranking is the fitted one, so any size up to N may be asked for, whatever
        ``n_neurons`` is. Call it on validation prompts and refit, or `set_params`, with the best:
        ``max(accuracy, key=accuracy.get)`` is the smallest of the best sizes.

        Parameters
        ----------
        X, y
            As in `fit`.
        sizes : ints, optional
            Default: the powers of two up to 2^13 that exist.

        Returns
        -------
        dict
            Accuracy of each size, sizes ascending.
        """
        check_is_fitted(self)
        ascending = check_sizes(sizes, self.n_features_in_)
        votes = self.votes_by_size(X, ascending)
        labels = check_labels(y, len(votes), len(self.classes_))
        hits = votes.argmax(axis=2) == labels[:, None]
        return dict(zip(ascending, hits.mean(axis=0).tolist(), strict=True))

    def votes_by_size(self, X: ArrayLike | OrderStore, sizes: Sequence[int]) -> NDArray:
        """Votes of the best ``sizes[i]`` neurons for each label, [Q, S, K], sizes ascending."""
        check_is_fitted(self)
        ascending = check_sizes(sizes, self.n_features_in_)
        neurons, polarity = self._choose(ascending[-1])
        return self._count(X, neurons, polarity, ascending)

    def reduced(self) -> Self:
        """Return this probe for scores of its own neurons alone, in the order of `neurons_`.

        It predicts from X [Q, K, n] what this one predicts from X [Q, K, N]: with it a second pass
        over a model need keep only the neurons that the first one chose.
        """
        check_is_fitted(self)
        small = clone(self)
        small.scores_ = self.scores_[self.neurons_]
        small.classes_, small.polarity_ = self.classes_.copy(), self.polarity_.copy()
        small.n_features_in_ = len(self.neurons_)
        small.neurons_ = np.arange(small.n_features_in_)
        return small

    def _choose(self, n_neurons: int) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        """Return the best neurons, best first, and the sign with which each one votes."""
        neurons = top_neurons(self.scores_, n_neurons, self.negatives)
        if not self.negatives:
            return neurons, np.ones(n_neurons, np.int8)
        return neurons, np.sign(self.scores_[neurons]).astype(np.int8)

    def _count(
        self,
        X: ArrayLike | OrderStore,
        neurons: NDArray[np.intp],
        polarity: NDArray[np.int8],
        sizes: Sequence[int],
    ) -> NDArray:
        store, (_, *given) = check_scores(X)
        self._check_parameters(packed=not isinstance(store, np.ndarray))
        self._check_shape(given)
        blocks = [
            count_votes(block, neurons, polarity, self._votes, sizes)
            for _, block in score_blocks(store)
        ]
        return np.concatenate(blocks)

    def _check_shape(self, given: list[int]) -> None:
        expected = [len(self.classes_), self.n_features_in_]
        if given != expected:
            raise ValueError(
                f"X has {given[0]} labels and {given[1]} neurons; {type(self).__name__} "
                f"was fitted on {expected[0]} labels and {expected[1]} neurons"
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags
