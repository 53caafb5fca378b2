"""Polar-Probe: neurons whose gradient has one sign for the gold label and the other elsewhere."""

import numpy as np
from numpy.typing import NDArray

from neurgrad.probes.majority import MajorityProbe


class PolarProbe(MajorityProbe):
    """Majority vote on the signs of gradients.

    With ``g[q, k]`` the NeurGrad of label k on prompt q (a vector over neurons), a neuron's
    ranking score is ``sum over q of (2 sgn(g[q, y]) - sum over k of sgn(g[q, k]))``, with
    ``sgn(0) = 0``. The top n neurons by ``|score|`` vote with polarity ``p = sgn(score)``, and
    the prediction is ``argmax over k of sum over n of p[n] sgn(g[q, k, n])``, the lowest label
    among equals.

    Parameters
    ----------
    n_neurons : int, optional
        How many neurons vote; all of them by default.
    negatives : bool
        Whether neurons that speak against the gold label are used, with their sign turned.
        Without them the top n by ``score`` vote with polarity 1.

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
    Controllability, ACL 2025 (arXiv:2412.18053), section 6. The ranking contrasts the gold label
    with the others as the authors' code does; the text counts the gold label's sign alone.
    """

    def __init__(self, n_neurons: int | None = None, *, negatives: bool = True) -> None:
        self.n_neurons = n_neurons
        self.negatives = negatives

    def _evidence(self, scores: NDArray, labels: NDArray[np.integer]) -> NDArray:
        signs = np.sign(scores).astype(np.int16)
        gold = np.take_along_axis(signs, labels[:, None, None], axis=1)[:, 0]
        return 2 * gold - signs.sum(axis=1, dtype=np.int16)

    def _votes(self, scores: NDArray) -> NDArray:
        return np.sign(scores).astype(np.int64)
