"""Log-probabilities under interventions that shift several neurons at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from negkernel.results import statistics
from negkernel.results.base import Result
from negkernel.results.frames import long_frame

if TYPE_CHECKING:
    import pandas as pd


class Further(Protocol):
    """What interventions can be asked after they were computed."""

    def predicted(self) -> np.ndarray:
        """See :attr:`Interventions.predicted`."""

    def top_answers(self, k: int) -> list[list[list[tuple[str, float]]]]:
        """See :meth:`Interventions.top_answers`."""


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
    base_token_logprob : ndarray [P, T] or [P, K, T], optional
        Of targets that may be several tokens, the log-prob of each token, given those before it;
        NaN where one has fewer than T. ``base_logprob`` and ``logprob_shift`` are of their sum.
    token_logprob_shift : ndarray [P, R, T] or [P, K, R, T], optional
        The change of each.
    kl : ndarray [P, R], optional
        KL divergence of the distribution under the intervention from the base, in nats, where it
        was asked for.
    further : optional
        What asks the engine for :attr:`predicted` and :meth:`top_answers` when they are wanted;
        gone from results that were saved, or in which prompts were chosen.
    """

    base_logprob: np.ndarray
    logprob_shift: np.ndarray
    method: str
    base_token_logprob: np.ndarray | None = None
    token_logprob_shift: np.ndarray | None = None
    kl: np.ndarray | None = None
    further: Further | None = field(default=None, repr=False, metadata={"kept": False})

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        optional = {"base_token_logprob": "PKT", "token_logprob_shift": "PKRT", "kl": "PR"}
        asked = {name: axes for name, axes in optional.items() if getattr(self, name) is not None}
        return {"base_logprob": "PK", "logprob_shift": "PKR"} | asked

    def prob_shift(self) -> np.ndarray:
        """``p(target | intervention) - p(target)``, free of cancellation.

        Returns
        -------
        ndarray [P, R] or [P, K, R]
        """
        change = statistics.prob_shift(self.base_logprob[..., None], self.logprob_shift)
        return change.astype(self.logprob_shift.dtype)

    @property
    def predicted(self) -> np.ndarray:
        """First-order prediction of :meth:`prob_shift`, from gradients of the unshifted model.

        See :meth:`negkernel.Gradients.predict`. Computed when asked for.

        Returns
        -------
        ndarray [P, R] or [P, K, R]

        Raises
        ------
        ValueError
            The result comes from a file or is a part of another, its engine is gone, or the model
            is no longer what it was.
        """
        return self._further().predicted()

    def top_answers(self, k: int = 5) -> list[list[list[tuple[str, float]]]]:
        """Likeliest answers under each intervention: what the model says instead.

        One ordinary forward for each prompt and intervention, when asked for.

        Parameters
        ----------
        k : int
            How many, likeliest first.

        Returns
        -------
        list [P] of list [R] of list [k] of (str, float)
            Tokens as text (their ids in digits where the engine has no tokenizer) with their
            probabilities.

        Raises
        ------
        ValueError
            As :attr:`predicted`, or a wrong `k`.
        """
        return self._further().top_answers(k)

    def _further(self) -> Further:
        if self.further is None:
            raise ValueError(
                "predictions and answers are asked of the engine, and this result comes from a "
                "file or is a part of another one; call Engine.intervene again"
            )
        return self.further

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
