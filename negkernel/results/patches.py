"""Exact activation patching of single neurons, beside its first-order estimate."""

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
class Patches(Result):
    """What each neuron does to the target when it takes the value it has on another prompt.

    Arrays that depend on the target have an axis ``K`` after ``P`` when several targets were asked
    for each prompt. The fields of `Result` (prompts, targets, model) come on top of these.

    Attributes
    ----------
    neurons : ndarray of int64 [N, 2]
        (layer, index), 0-based.
    source_tokens : list of lists of int
        Token ids of the prompts that values were taken from.
    base_logprob : ndarray [P] or [P, K]
        ``log p(target)`` without a patch, in nats.
    activation, source_activation : ndarray [P, N]
        Each neuron's value on the prompt and on its source.
    logprob_shift : ndarray [P, N] or [P, K, N]
        ``log p(target | patched) - log p(target)``, in nats.
    logprob_estimate : ndarray [P, N] or [P, K, N]
        Its first-order estimate: the difference of the two values times the gradient.
    site, method : str
        Which tensor the neuron is, and how it was computed.
    """

    neurons: np.ndarray
    source_tokens: list[list[int]]
    base_logprob: np.ndarray
    activation: np.ndarray
    source_activation: np.ndarray
    logprob_shift: np.ndarray
    logprob_estimate: np.ndarray
    site: str
    method: str

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        per_neuron = {"activation": "PN", "source_activation": "PN"}
        per_target = {"logprob_shift": "PKN", "logprob_estimate": "PKN"}
        return {"neurons": "N2", "base_logprob": "PK", **per_neuron, **per_target}

    def prob_shift(self) -> np.ndarray:
        """``p(target | patched) - p(target)``, free of cancellation.

        Returns
        -------
        ndarray [P, N] or [P, K, N]
        """
        change = statistics.prob_shift(self.base_logprob[..., None], self.logprob_shift)
        return change.astype(self.logprob_shift.dtype)

    def prob_estimate(self) -> np.ndarray:
        """First-order estimate of :meth:`prob_shift`.

        Returns
        -------
        ndarray [P, N] or [P, K, N]
        """
        return self.logprob_estimate * np.exp(self.base_logprob)[..., None]

    def to_frame(self) -> pd.DataFrame:
        """Table with one row for each prompt, target and neuron.

        Returns
        -------
        DataFrame
            ``prompt_index``, ``prompt``, ``target``, ``layer``, ``neuron``, ``activation``,
            ``source_activation``, ``logprob_shift`` and ``logprob_estimate`` (nats),
            ``prob_shift`` and ``prob_estimate``.
        """
        layer, index = self.neurons.T
        columns = {"layer": layer[None, None], "neuron": index[None, None]}
        columns |= {
            name: getattr(self, name)[:, None] for name in ("activation", "source_activation")
        }
        values = {
            "logprob_shift": self.logprob_shift,
            "logprob_estimate": self.logprob_estimate,
            "prob_shift": self.prob_shift(),
            "prob_estimate": self.prob_estimate(),
        }
        columns |= {name: self._with_target_axis(array) for name, array in values.items()}
        return long_frame(self.prompts, self.targets, columns)

    def __repr__(self) -> str:
        targets = f"{self.target_ids.shape[1]} targets x " if self._has_target_axis else ""
        return (
            f"Patches({len(self.prompts)} prompts x {targets}{len(self.neurons)} neurons, "
            f"site={self.site!r}, method={self.method!r}, model={self.model!r})"
        )
