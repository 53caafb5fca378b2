"""Shift the output of an attention head, before the output projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from negkernel.families.feed_forward import FeedForward
from negkernel.families.feed_forward import Site as Catch
from negkernel.sites.site import Site

AXES = ("scale", "value", "zero_ablation")


@dataclass(frozen=True, eq=False)
class Head(Site):
    """Heads: the "neuron" is the factor on a head's slice of the output projection's input.

    Its activation is 1. A shift s on the axis "scale" adds s times the head's output, mapped by its
    columns of the output projection: -1 ablates the head, as "value" 0 does.

    Attributes
    ----------
    counts : ndarray [L] int64
        Heads of each layer.
    catches : list
        Where hooks catch the factors of each layer's heads.
    """

    counts: np.ndarray
    catches: list[Catch]
    name = "head"
    stage = "heads"
    noun = "head"

    def widths(self, feed_forwards: Sequence[FeedForward]) -> np.ndarray:
        """See :class:`Site`."""
        return self.counts

    def caught(self, feed_forwards: Sequence[FeedForward]) -> list[Catch]:
        """See :class:`Site`."""
        return self.catches

    def check(self, axis: str, amounts: np.ndarray | None = None) -> str:
        """See :class:`Site`; a vector has no sign to follow, and no number to become but 0."""
        if axis not in AXES:
            raise ValueError(
                f"axis {axis!r} is not defined for site 'head', whose output is a vector; expected "
                "axis='scale' (-1 is ablation) or 'value' with 0"
            )
        if axis == "value" and amounts is not None and np.any(amounts):
            raise ValueError(
                f"axis 'value' puts {amounts[np.flatnonzero(amounts)[0]]:g} in the place of a "
                "head's output, which is a vector; expected 0 (ablation), or axis='scale'"
            )
        return axis
