"""Curves of log-probability against shift, one for every prompt and neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from negkernel.arguments import check_number
from negkernel.results import statistics
from negkernel.results.base import Result
from negkernel.results.frames import long_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Sweep(Result):
    """What a sweep measured: ``log p(target)`` at every shift of every neuron.

    Arrays that depend on the target have an axis ``K`` after ``P`` when several targets were asked
    for each prompt. The fields of `Result` (prompts, targets, model) come on top of these.

    Attributes
    ----------
    neurons : ndarray of int64 [N, 2] or [P, N, 2]
        (layer, index), 0-based; the same for every prompt, or a list for each.
    shifts : ndarray [J]
        Shifts, in units of the activation (a factor on the ``scale`` axis).
    axis, site, method, resolution : str
        What a shift means, which tensor the neuron is, and how the curve was computed.
    base_logprob : ndarray [P] or [P, K]
        ``log p(target)`` without a shift, in nats.
    logprob_shift : ndarray [P, N, J] or [P, K, N, J]
        ``log p(target | shifted) - log p(target)``, in nats.
    activation : ndarray [P, N]
        Activation of each neuron at the probed position, without a shift.
    error : ndarray [P, N] or [P, K, N]
        Largest absolute error of the log-probability over the curve, in nats; 0 for a grid in the
        model's own precision.
    rows : int
        Shifted forwards that were computed.
    base_token_logprob : ndarray [P, T] or [P, K, T], optional
        Of targets that may be several tokens, the log-prob of each token, given those before it;
        NaN where one has fewer than T. ``base_logprob`` and ``logprob_shift`` are of their sum.
    token_logprob_shift : ndarray [P, N, J, T] or [P, K, N, J, T], optional
        The change of each.
    logit_diff : ndarray [P, N, J], optional
        Change of the first target's logit less the second's. This and those below are there where
        they were asked for.
    kl : ndarray [P, N, J], optional
        KL divergence of the shifted from the base distribution, in nats.
    rank : ndarray of int64 [P, N, J] or [P, K, N, J], optional
        How many tokens are likelier than the target under the shift.
    top_changed : ndarray of bool [P, N, J], optional
        Whether the likeliest token is another one than without the shift; comes with ``rank``.
    """

    kept_as: ClassVar[str] = "sweep"

    neurons: np.ndarray
    shifts: np.ndarray
    axis: str
    site: str
    method: str
    resolution: str
    base_logprob: np.ndarray
    logprob_shift: np.ndarray
    activation: np.ndarray
    error: np.ndarray
    rows: int
    base_token_logprob: np.ndarray | None = None
    token_logprob_shift: np.ndarray | None = None
    logit_diff: np.ndarray | None = None
    kl: np.ndarray | None = None
    rank: np.ndarray | None = None
    top_changed: np.ndarray | None = None

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        optional = {"base_token_logprob": "PKT", "token_logprob_shift": "PKNJT"}
        optional |= {"logit_diff": "PNJ", "kl": "PNJ", "rank": "PKNJ", "top_changed": "PNJ"}
        asked = {name: axes for name, axes in optional.items() if getattr(self, name) is not None}
        return asked | {
            "neurons": "PN2" if np.ndim(self.neurons) == 3 else "N2",
            "shifts": "J",
            "base_logprob": "PK",
            "logprob_shift": "PKNJ",
            "activation": "PN",
            "error": "PKN",
        }

    def prob_shift(self) -> np.ndarray:
        """``p(target | shifted) - p(target)``, free of cancellation.

        Returns
        -------
        ndarray [P, N, J] or [P, K, N, J]
        """
        return self._rounded(self._prob_shift())

    def neg(self) -> np.ndarray:
        """Neuron empirical gradient: slope of the probability shift, through the origin.

        A zero shift is left out, on the ``value`` axis too, where it is zero ablation. On the
        ``magnitude`` axis the slope tends to NeurGrad as the range shrinks, on the ``signed`` axis
        to the computational gradient.

        Returns
        -------
        ndarray [P, N] or [P, K, N]
            Probability per unit of shift.

        Raises
        ------
        ValueError
            If no shift differs from zero.
        """
        return self._rounded(statistics.neg(self.shifts, self._prob_shift()))

    def pearson(self) -> np.ndarray:
        """Pearson correlation of shift and probability shift, a zero shift left out.

        Returns
        -------
        ndarray [P, N] or [P, K, N]
            Values in [-1, 1]; 0 for a constant curve and for a single shift.

        Raises
        ------
        ValueError
            If no shift differs from zero.
        """
        return self._rounded(statistics.pearson(self.shifts, self._prob_shift()))

    def linear(self, threshold: float = 0.95) -> np.ndarray:
        """Whether a neuron acts linearly over the range of the sweep: ``|r| >= threshold``.

        The paper calls a neuron linear at 0.95 over shifts within +-2.

        Parameters
        ----------
        threshold : float
            Smallest absolute Pearson correlation of a linear neuron.

        Returns
        -------
        ndarray of bool [P, N] or [P, K, N]
        """
        return np.abs(self.pearson()) >= check_number("threshold", threshold)

    def polarity(self) -> np.ndarray:
        """Sign of the neuron empirical gradient.

        Returns
        -------
        ndarray of int8 [P, N] or [P, K, N]
            +1 where a positive shift raises the target's probability, -1 where it lowers it, 0
            where it does neither.
        """
        return np.sign(np.nan_to_num(self.neg())).astype(np.int8)

    def to_frame(self) -> pd.DataFrame:
        """Table with one row for each prompt, target and neuron.

        Returns
        -------
        DataFrame
            ``prompt_index``, ``prompt``, ``target``, ``layer``, ``neuron``, ``activation``,
            ``base_prob``, ``neg`` (probability per unit of shift), ``pearson``, ``linear`` (at
            0.95), ``polarity``, ``error`` (nats), and what all rows share: ``site``, ``axis``,
            ``shift_low``, ``shift_high``.
        """
        neurons = np.broadcast_to(self.neurons, (*self.activation.shape, 2))[:, None]
        base_prob = np.exp(self._with_target_axis(self.base_logprob))[:, :, None]
        measured = {
            "neg": self.neg(),
            "pearson": self.pearson(),
            "linear": self.linear(),
            "polarity": self.polarity(),
            "error": self.error,
        }
        return long_frame(
            self.prompts,
            self.targets,
            {
                "layer": neurons[..., 0],
                "neuron": neurons[..., 1],
                "activation": self.activation[:, None],
                "base_prob": base_prob,
                **{name: self._with_target_axis(array) for name, array in measured.items()},
            },
            {
                "site": self.site,
                "axis": self.axis,
                "shift_low": float(np.min(self.shifts)),
                "shift_high": float(np.max(self.shifts)),
            },
        )

    def _said(self) -> str:
        P, N = self.activation.shape
        targets = f"{self.target_ids.shape[1]} targets x " if self._has_target_axis else ""
        return (
            f"Sweep({P} prompts x {targets}{N} neurons x {len(self.shifts)} shifts in "
            f"[{self.shifts.min():g}, {self.shifts.max():g}], axis={self.axis!r}, "
            f"site={self.site!r}, resolution={self.resolution!r}, method={self.method!r}, "
            f"rows={self.rows}, model={self.model!r})"
        )

    def _prob_shift(self) -> np.ndarray:
        return statistics.prob_shift(self.base_logprob[..., None, None], self.logprob_shift)

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        return values.astype(self.logprob_shift.dtype)
