"""Magn-Probe: neurons whose gradient is larger, or smaller, for the gold label than elsewhere."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from negkernel.arguments import check_choice
from neurgrad.probes.majority import MajorityProbe


class MagnProbe(MajorityProbe):
    """Majority vote on which label has the largest gradient.

    With ``g[q, k]`` the NeurGrad of label k on prompt q (a vector over neurons), a neuron's
    ranking score is ``sum over q and k of sgn(g[q, y] - g[q, k])``. The top n neurons by
    ``|score|`` have polarity ``p = sgn(score)``; each gives one vote to every label that attains
    ``max over k of p g[q, k]``, and the label with the most votes is predicted, the lowest among
    equals.

    Parameters
    ----------
    n_neurons : int, optional
        How many neurons vote; all of them by default.
    negatives : bool
        Whether neurons whose gradient is smallest for the gold label are used, with their sign
        turned. Without them the top n by ``score`` vote with polarity 1.
    rule : {"votes", "sum"}
        "sum" predicts ``argmax over k of sum over n of p[n] g[q, k, n]`` instead. It needs float
        scores. The authors' code votes on test prompts and sums on training prompts; here one
        rule serves both, so that the two accuracies compare.

    Attributes
    ----------
    scores_ : int64 array [N]
        Ranking score of every neuron.
    neurons_ : int array [n]
        Flat indices of the chosen neurons, best first, the lowest index among equals.
    polarity_ : int8 array [n]
        Sign with which each of them votes.
    classes_ : int array [K]
        The labels, 0 to K - 1.
    n_features_in_ : int
        N.

    References
    ----------
    Zhao et al., Neuron Empirical Gradient: Discovering and Quantifying Neurons' Global Linear
    Controllability, ACL 2025 (arXiv:2412.18053), section 6.
    """

    def __init__(
        self,
        n_neurons: int | None = None,
        *,
        negatives: bool = True,
        rule: Literal["votes", "sum"] = "votes",
    ) -> None:
        self.n_neurons = n_neurons
        self.negatives = negatives
        self.rule = rule

    def _evidence(self, scores: NDArray, labels: NDArray[np.integer]) -> NDArray:
        gold = np.take_along_axis(scores, labels[:, None, None], axis=1)
        below = (gold > scores).sum(axis=1, dtype=np.int16)
        above = (gold < scores).sum(axis=1, dtype=np.int16)
        return below - above

    def _votes(self, scores: NDArray) -> NDArray:
        if self.rule == "sum":
            return scores.astype(np.float64)
        return (scores == scores.max(axis=1, keepdims=True)).astype(np.int64)

    def _check_parameters(self, packed: bool) -> None:
        super()._check_parameters(packed)
        check_choice("rule", self.rule, ("votes", "sum"))
        if packed and self.rule == "sum":
            raise ValueError(
                'rule="sum" adds up float scores, and packed orders hold none; '
                'give float scores or use rule="votes"'
            )
