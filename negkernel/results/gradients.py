"""Gradients of the target's probability with respect to every feed-forward neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from negkernel.arguments import check_choice, check_integer, check_number, shown
from negkernel.results.base import Result
from negkernel.results.frames import existing, long_frame

if TYPE_CHECKING:
    import pandas as pd

    from negkernel.request.neurons import Intervention


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
    paper : bool
        Whether ``site`` is the one that ``"paper"`` means for this model.
    magnitude, scale : ndarray [P, L, I] or [P, K, L, I], optional
        Where neurons are shifted at several positions: the sums over them of ``sign(a) cg`` and
        ``a cg``. ``cg`` is then a sum as well, ``activation`` that at the position that is read.
    """

    kept_as: ClassVar[str] = "gradients"

    prob: np.ndarray
    cg: np.ndarray
    activation: np.ndarray
    site: str
    log: bool = False
    paper: bool = False
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

    def activation_gradient(self) -> np.ndarray:
        """Activation times gradient: what a neuron, as active as it is, adds to p to first order.

        Returns
        -------
        ndarray [P, L, I] or [P, K, L, I]
            Probability (nats with ``log``). Where it is positive the neuron holds the target up:
            zeroing it lowers p by about as much.
        """
        if self.scale is not None:
            return self.scale
        activation = self.activation[:, None] if self._has_target_axis else self.activation
        return activation * self.cg

    def top(
        self, k: int, sign: str | None = None, by: str = "neurgrad"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Neurons with the largest scores, largest first.

        Zeroing the neurons of largest ``|NeurGrad|`` may well raise p, since signs are mixed and
        activations small: the ten that hold a fact up are ``top(10, "+", "activation_gradient")``.

        Parameters
        ----------
        k : int
            How many for each prompt and target. Ties go to the lower layer, then the lower index.
        sign : {None, "+", "-"}
            Only scores of that sign; by default both, by their size.
        by : {"neurgrad", "activation_gradient"}
            The score: :meth:`neurgrad` is p's slope as a neuron is moved away from zero,
            :meth:`activation_gradient` what it adds as active as it is.

        Returns
        -------
        neurons : ndarray of int64 [P, k, 2] or [P, K, k, 2]
            (layer, index), as `Engine.sweep` takes them.
        scores : ndarray [P, k] or [P, K, k]
            With their sign.

        Raises
        ------
        ValueError
            Unknown words, or fewer neurons, of that sign, than `k`.
        """
        check_integer("k", k, 1, self._total)
        if sign is not None:
            check_choice("sign", sign, ("+", "-"))
        check_choice("by", by, ("neurgrad", "activation_gradient"))
        scores = self._flat(getattr(self, by)())
        size = {None: np.abs(scores), "+": scores, "-": -scores}[sign]
        if sign is not None:
            of_sign = (size > 0).sum(axis=-1)
            if of_sign.min() < k:
                raise ValueError(
                    f"k is {k} but a prompt has only {of_sign.min()} neurons whose {by} has the "
                    f"sign {sign!r}; expected at most as many"
                )
        best = np.argsort(-size, axis=-1, kind="stable")[..., :k]
        return self._pairs(best), np.take_along_axis(scores, best, axis=-1)

    @property
    def _total(self) -> int:
        """How many neurons there are."""
        return len(existing(self.activation)[0])

    def _flat(self, scores: np.ndarray) -> np.ndarray:
        """Scores with one axis of neurons."""
        return scores.reshape(*scores.shape[:-2], -1)

    def _pairs(self, index: np.ndarray) -> np.ndarray:
        """(layer, index) pairs [..., 2] of neurons ``index`` [...] of that axis."""
        return np.stack(np.divmod(index, self.cg.shape[-1]), axis=-1).astype(np.int64)

    def predict(self, intervention: Intervention) -> np.ndarray:
        """Change of p (of log p with ``log``) under an intervention, to first order.

        The sum over its neurons of slope times shift: NeurGrad on the magnitude axis, CG on the
        signed one, activation times gradient on the others. It knows no interaction of neurons and
        no bend; :meth:`negkernel.Engine.intervene` computes what happens.

        Parameters
        ----------
        intervention : negkernel.Intervention
            At the site of these gradients.

        Returns
        -------
        ndarray [P] or [P, K]

        Raises
        ------
        ValueError, IndexError
            Another site, or a neuron that these gradients do not have.
        TypeError
            Not an intervention.
        """
        if not hasattr(intervention, "amounts"):
            raise TypeError(
                f"intervention is {shown(intervention)}; expected a negkernel.Intervention"
            )
        own = (self.site, "paper") if self.paper or self.site == "up" else (self.site,)
        if intervention.site not in own:
            raise ValueError(
                f"the intervention is at the site {intervention.site!r}, these gradients at "
                f"{self.site!r}; expected {' or '.join(map(repr, own))}"
            )
        return self.first_order(intervention)

    def first_order(self, intervention: Intervention) -> np.ndarray:
        """:meth:`predict`, whatever the site is called."""
        layer, index = intervention.neurons.T
        L, I = self.cg.shape[-2:]
        beyond = (layer < 0) | (layer >= L) | (index < 0) | (index >= I)
        if not beyond.any():
            beyond = np.isnan(self.activation[:, layer, index]).all(axis=0)
        if beyond.any():
            pair = tuple(int(i) for i in intervention.neurons[beyond][0])
            raise IndexError(f"there is no neuron {pair}; expected one of {L} layers x {I}")
        amounts = intervention.amounts
        if intervention.axis == "magnitude":
            each = self.neurgrad()[..., layer, index] * amounts
        elif intervention.axis == "signed":
            each = self.cg[..., layer, index] * amounts
        else:
            each = self.activation_gradient()[..., layer, index]
            # A value v in the place of activation a is a shift by v - a.
            value = self.cg[..., layer, index] * amounts - each
            each = value if intervention.axis == "value" else each * amounts
        return each.sum(axis=-1).astype(self.cg.dtype)

    def first_rows(self, n: int) -> pd.DataFrame:
        """See :meth:`negkernel.results.base.Result.first_rows`."""
        return self[:n].to_frame(top=min(3, self._total))

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
            activation), ``site``.
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
            {"site": self.site},
        )

    def _said(self) -> str:
        P, L, I = self.activation.shape
        targets = f"{self.target_ids.shape[1]} targets x " if self._has_target_axis else ""
        return (
            f"Gradients({P} prompts x {targets}{L} layers x {I} neurons, site={self.site!r}, "
            f"model={self.model!r})"
        )
