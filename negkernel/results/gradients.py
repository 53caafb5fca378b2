"""Gradients of the target's probability with respect to every feed-forward neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from negkernel.arguments import check_integer, check_number
from negkernel.results.base import Result
from negkernel.results.frames import existing, long_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Gradients(Result):
    """Computational gradient (CG) of all neurons at the probed position, and NeurGrad from it.

    Arrays that depend on the target have an axis ``K`` after ``P`` when several targets were asked
    for each prompt. The fields of `Result` (prompts, targets, model) come on top of these.

    Attributes
    ----------
    prob : ndarray [P] or [P, K]
        ``p(target)``.
    cg : ndarray [P, L, I] or [P, K, L, I]
        ``d p(target) / d activation``, or ``d log p(target) / d activation``.
    activation : ndarray [P, L, I]
        Activation of each neuron at the probed position; NaN, as ``cg``, where a layer has fewer
        than I neurons.
    site : str
        Which tensor the neuron is.
    log : bool
        Whether ``cg``, and NeurGrad with it, is that of ``log p``: in nats per unit of activation.
    magnitude, scale : ndarray [P, L, I] or [P, K, L, I], optional
        Where neurons are shifted at several positions: the sums over them of ``sign(a) cg`` and
        ``a cg``. ``cg`` is then a sum as well, ``activation`` that at the position that is read.
    """

    prob: np.ndarray
    cg: np.ndarray
    activation: np.ndarray
    site: str
    log: bool = False
    magnitude: np.ndarray | None = None
    scale: np.ndarray | None = None

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        several = [n for n in ("magnitude", "scale") if getattr(self, n) is not None]
        return {"prob": "PK", "cg": "PKLI", "activation": "PLI"} | dict.fromkeys(several, "PKLI")

    def neurgrad(self, threshold: float = 0.0) -> np.ndarray:
        """Gradient along the magnitude axis: CG with the sign of the activation.

        Parameters
        ----------
        threshold : float
            Activations above it count as positive, all others as negative: with the default a
            neuron at exactly 0 has ``-cg``, as in the code published with the paper.

        Returns
        -------
        ndarray [P, L, I] or [P, K, L, I]
            Estimate of the neuron empirical gradient on the ``magnitude`` axis.
        """
        check_number("threshold", threshold)
        if self.magnitude is not None:
            if threshold:
                raise ValueError(
                    f"threshold is {threshold}; expected 0 where neurons are shifted at several "
                    "positions, whose signs went into the sum"
                )
            return self.magnitude
        activation = self.activation[:, None] if self._has_target_axis else self.activation
        return np.where(activation > threshold, self.cg, -self.cg)

    def top(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Neurons with the largest ``|NeurGrad|``, largest first.

        Parameters
        ----------
        n : int
            How many for each prompt and target. Ties go to the lower layer, then the lower index.

        Returns
        -------
        neurons : ndarray of int64 [P, n, 2] or [P, K, n, 2]
            (layer, index), as `Engine.sweep` takes them.
        scores : ndarray [P, n] or [P, K, n]
            Their NeurGrad, with its sign.

        Raises
        ------
        ValueError
            If `n` is not between 1 and the number of neurons.
        """
        L, I = self.cg.shape[-2:]
        total = len(existing(self.activation)[0])
        check_integer("n", n, 1, total)
        scores = self.neurgrad().reshape(*self.cg.shape[:-2], L * I)
        best = np.argsort(-np.abs(scores), axis=-1, kind="stable")[..., :n]
        neurons = np.stack(np.divmod(best, I), axis=-1).astype(np.int64)
        return neurons, np.take_along_axis(scores, best, axis=-1)

    def to_frame(self, top: int | None = None) -> pd.DataFrame:
        """Table with one row for each prompt, target and neuron.

        Parameters
        ----------
        top : int, optional
            Only this many neurons for each prompt and target, ordered as by `top`; all of them by
            default.

        Returns
        -------
        DataFrame
            ``prompt_index``, ``prompt``, ``target``, ``layer``, ``neuron``, ``activation``,
            ``base_prob``, ``cg`` and ``neurgrad`` (both probability, or nats, per unit of
            activation).
        """
        P = len(self.activation)
        if top is None:
            layer, neuron = (one[None, None] for one in existing(self.activation))
        else:
            layer, neuron = np.moveaxis(self._with_target_axis(self.top(top)[0]), -1, 0)
        prompt, target = np.ogrid[:P, : self.target_ids[0].size]
        cell = prompt[..., None], target[..., None], layer, neuron
        return long_frame(
            self.prompts,
            self.targets,
            {
                "layer": layer,
                "neuron": neuron,
                "activation": self.activation[cell[0], layer, neuron],
                "base_prob": self._with_target_axis(self.prob)[..., None],
                "cg": self._with_target_axis(self.cg)[cell],
                "neurgrad": self._with_target_axis(self.neurgrad())[cell],
            },
        )

    def __repr__(self) -> str:
        P, L, I = self.activation.shape
        targets = f"{self.target_ids.shape[1]} targets x " if self._has_target_axis else ""
        return (
            f"Gradients({P} prompts x {targets}{L} layers x {I} neurons, site={self.site!r}, "
            f"model={self.model!r})"
        )
