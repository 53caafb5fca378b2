"""Log-probabilities under interventions that shift several neurons at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from negkernel.results import statistics
from negkernel.results.base import Result
from negkernel.results.frames import long_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Interventions(Result):
    """What each of ``R`` interventions did to each prompt's target.

    Arrays that depend on the target have an axis ``K`` after ``P`` when several targets were asked
    for each prompt. The fields of `Result` (prompts, targets, model) come on top of these.

    Attributes
    ----------
    base_logprob : ndarray [P] or [P, K]
        ``log p(target)`` without an intervention, in nats.
    logprob_shift : ndarray [P, R] or [P, K, R]
        ``log p(target | intervention) - log p(target)``, in nats.
    method : str
        How it was computed.
    """

    base_logprob: np.ndarray
    logprob_shift: np.ndarray
    method: str

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        return {"base_logprob": "PK", "logprob_shift": "PKR"}

    def prob_shift(self) -> np.ndarray:
        """``p(target | intervention) - p(target)``, free of cancellation.

        Returns
        -------
        ndarray [P, R] or [P, K, R]
        """
        change = statistics.prob_shift(self.base_logprob[..., None], self.logprob_shift)
        return change.astype(self.logprob_shift.dtype)

    def to_frame(self) -> pd.DataFrame:
        """Table with one row for each prompt, target and intervention.

        Returns
        -------
        DataFrame
            ``prompt_index``, ``prompt``, ``target``, ``intervention`` (its position in the list
            given), ``base_prob``, ``logprob_shift`` (nats) and ``prob_shift``.
        """
        R = self.logprob_shift.shape[-1]
        return long_frame(
            self.prompts,
            self.targets,
            {
                "intervention": np.arange(R)[None, None],
                "base_prob": np.exp(self._with_target_axis(self.base_logprob))[..., None],
                "logprob_shift": self._with_target_axis(self.logprob_shift),
                "prob_shift": self._with_target_axis(self.prob_shift()),
            },
        )

    def __repr__(self) -> str:
        P, R = self.logprob_shift.shape[0], self.logprob_shift.shape[-1]
        targets = f"{self.target_ids.shape[1]} targets x " if self._has_target_axis else ""
        return (
            f"Interventions({P} prompts x {targets}{R} interventions, method={self.method!r}, "
            f"model={self.model!r})"
        )
