"""Gradients of the target's probability along directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from negkernel.arguments import check_number
from negkernel.results.frames import long_frame
from negkernel.results.gradients import Gradients

if TYPE_CHECKING:
    import pandas as pd

    from negkernel.request.neurons import Intervention


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DirectionGradients(Gradients):
    """Slope of each target's probability along each of N directions, at a shift of 0.

    Fields are those of `Gradients` with one axis N in place of L and I.

    Attributes
    ----------
    neurons : ndarray of int64 [N, 2]
        (layer, index among the directions that were given).
    cg : ndarray [P, N] or [P, K, N]
        ``d p(target) / d amount``, or that of ``log p``; summed over positions where several are
        shifted.
    activation : ndarray [P, N]
        Coordinate of the unshifted tensor along each direction.
    site : str
        Where the directions are: "residual", "mlp_out" or "attention_out".
    """

    kept_as: ClassVar[str] = "gradients along directions"

    neurons: np.ndarray

    def array_axes(self) -> Mapping[str, str]:
        """See :meth:`negkernel.results.base.Result.array_axes`."""
        axes = {"neurons": "N2", "prob": "PK", "cg": "PKN", "activation": "PN"}
        return axes if self.scale is None else axes | {"scale": "PKN"}

    def neurgrad(self, threshold: float = 0.0) -> np.ndarray:
        """Return ``cg``: a direction carries its own sign, whatever the coordinate's.

        Parameters
        ----------
        threshold : float
            Of no effect.

        Returns
        -------
        ndarray [P, N] or [P, K, N]
        """
        check_number("threshold", threshold)
        return self.cg

    def first_order(self, intervention: Intervention) -> np.ndarray:
        """Refuse: an intervention numbers its own directions, which need not be these.

        Raises
        ------
        NotImplementedError
        """
        raise NotImplementedError(
            "gradients along directions do not tell which an intervention means; use the "
            "`predicted` of what Engine.intervene returns"
        )

    def to_frame(self, top: int | None = None) -> pd.DataFrame:
        """Table with one row for each prompt, target and direction.

        Parameters
        ----------
        top : int, optional
            Only this many directions for each prompt and target, of largest ``|cg|``.

        Returns
        -------
        DataFrame
            ``prompt_index``, ``prompt``, ``target``, ``layer``, ``direction``, ``activation``,
            ``base_prob`` and ``cg``.
        """
        own = np.arange(self._total)[None, None]
        if top is not None:
            own = self._with_target_axis(self.top(top)[0])[..., 1]
        prompt, target = np.ogrid[: len(self), : self.target_ids[0].size]
        layer, direction = np.moveaxis(self.neurons[own], -1, 0)
        return long_frame(
            self.prompts,
            self.targets,
            {
                "layer": layer,
                "direction": direction,
                "activation": self.activation[prompt[..., None], own],
                "base_prob": self._with_target_axis(self.prob)[..., None],
                "cg": self._with_target_axis(self.cg)[prompt[..., None], target[..., None], own],
            },
        )

    @property
    def _total(self) -> int:
        return len(self.neurons)

    def _flat(self, scores: np.ndarray) -> np.ndarray:
        return scores

    def _pairs(self, index: np.ndarray) -> np.ndarray:
        pairs: np.ndarray = self.neurons[index]
        return pairs

    def _said(self) -> str:
        return (
            f"DirectionGradients({len(self)} prompts x {self._total} directions, "
            f"site={self.site!r}, model={self.model!r})"
        )
