"""The neuron empirical gradient of every neuron of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from negkernel.arguments import check_number
from negkernel.results.base import Result
from negkernel.results.frames import existing, long_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NegMap(Result):
    """NEG and linearity of all neurons, on the paper's uniform grid of 100 shifts.

    Arrays that depend on the target have an axis ``K`` after ``P`` when several targets were asked
    for each prompt. The fields of `Result` (prompts, targets, model) come on top of these.

    Attributes
    ----------
    neg : ndarray [P, L, I] or [P, K, L, I]
        Probability per unit of shift.
    pearson : ndarray [P, L, I] or [P, K, L, I]
        Correlation of shift and probability shift.
    error : ndarray [P, L, I] or [P, K, L, I]
        Estimate of the largest error of log p over the neuron's curve, in nats.
    base_logprob : ndarray [P] or [P, K]
        ``log p(target)`` without a shift, in nats.
    activation : ndarray [P, L, I]
        Activation of each neuron at the probed position, without a shift.
    radius : float
        Shifts lie within ``[-radius, radius]``.
    tol : float
        Relative tolerance of NEG, of itself or of 1 % of its layer's median where that is more.
    axis, site, method : str
        As in `Sweep`.
    rows : int
        Shifted forwards that were computed.
    neg_error : ndarray [P, L, I] or [P, K, L, I], optional
        Estimate of the error of ``neg``, in its unit: what fewer rows leave out, and rounding. It
        covers the paper's grid in 99.9 % of neurons, with half-precision operands within a factor
        of 2. None in files of earlier versions.
    neuron_rows : ndarray of int64 [P, L, I], optional
        Shifted forwards that each neuron took; 0 where its slope and its layer's others were
        enough.
    """

    kept_as: ClassVar[str] = "NEG map"

    neg: np.ndarray
    pearson: np.ndarray
    error: np.ndarray
    base_logprob: np.ndarray
    activation: np.ndarray
    radius: float
    tol: float
    axis: str
    site: str
    method: str
    rows: int
    neg_error: np.ndarray | None = None
    neuron_rows: np.ndarray | None = None

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        optional = {"neg_error": "PKLI", "neuron_rows": "PLI"}
        known = {name: axes for name, axes in optional.items() if getattr(self, name) is not None}
        return known | {
            "neg": "PKLI",
            "pearson": "PKLI",
            "error": "PKLI",
            "base_logprob": "PK",
            "activation": "PLI",
        }

    def linear(self, threshold: float = 0.95) -> np.ndarray:
        """Whether a neuron acts linearly within the radius: ``|r| >= threshold``.

        Returns
        -------
        ndarray of bool [P, L, I] or [P, K, L, I]
        """
        return np.abs(self.pearson) >= check_number("threshold", threshold)

    def polarity(self) -> np.ndarray:
        """Sign of the neuron empirical gradient, int8 [P, L, I] or [P, K, L, I]."""
        return np.nan_to_num(np.sign(self.neg)).astype(np.int8)

    def row_histogram(self) -> dict[int, int]:
        """How many neurons took how many shifted forwards, over all prompts.

        Raises
        ------
        ValueError
            A file of an earlier version does not tell.
        """
        if self.neuron_rows is None:
            raise ValueError("this map was kept by a version that counted no rows by neuron")
        layer, neuron = existing(self.activation)
        rows, neurons = np.unique(self.neuron_rows[:, layer, neuron], return_counts=True)
        return dict(zip(rows.tolist(), neurons.tolist(), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Table with one row for each prompt, target and neuron.

        Returns
        -------
        DataFrame
            ``prompt_index``, ``prompt``, ``target``, ``layer``, ``neuron``, ``activation``,
            ``base_prob``, ``neg``, ``pearson``, ``linear``, ``polarity``, ``error``, ``neg_error``
            where it is known, ``site``, ``axis``, ``shift_low`` and ``shift_high``.
        """
        layer, neuron = existing(self.activation)
        measured = {
            "neg": self.neg,
            "pearson": self.pearson,
            "linear": self.linear(),
            "polarity": self.polarity(),
            "error": self.error,
        }
        if self.neg_error is not None:
            measured["neg_error"] = self.neg_error
        return long_frame(
            self.prompts,
            self.targets,
            {
                "layer": layer[None, None],
                "neuron": neuron[None, None],
                "activation": self.activation[:, None, layer, neuron],
                "base_prob": np.exp(self._with_target_axis(self.base_logprob))[..., None],
                **{
                    name: self._with_target_axis(array)[:, :, layer, neuron]
                    for name, array in measured.items()
                },
            },
            {
                "site": self.site,
                "axis": self.axis,
                "shift_low": -self.radius,
                "shift_high": self.radius,
            },
        )

    def _said(self) -> str:
        P, L, I = self.activation.shape
        targets = f"{self.target_ids.shape[1]} targets x " if self._has_target_axis else ""
        curves = P * len(existing(self.activation)[0])
        return (
            f"NegMap({P} prompts x {targets}{L} layers x {I} neurons within +-{self.radius:g}, "
            f"axis={self.axis!r}, site={self.site!r}, {self.rows / curves:.2f} rows a neuron, "
            f"model={self.model!r})"
        )
