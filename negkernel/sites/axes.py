"""Say what the number of a shift means for the activation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from negkernel.arguments import check_choice
from negkernel.sites.site import Inner, Neuron, Site

AXES = ("magnitude", "signed", "scale", "value")
# What other libraries call them.
_ALIASES = {"add": "signed", "replace": "value"}


@dataclass(frozen=True)
class Spot:
    """What the number of a row moves, and how: a site and an axis."""

    site: Site
    axis: str

    @classmethod
    def of(cls, site: Site, axis: str, amounts: np.ndarray | None = None) -> Spot:
        """Make one of what users give; ``amounts`` are those of its rows, where they are known."""
        return cls(site, site.check(check_axis(axis), amounts))

    def entry(self, inner: Inner, amount: Tensor) -> Tensor:
        """Change [E] of the MLP's hidden vector when each entry's neuron is shifted.

        ``inner`` are gates and ups [E] as they stand in the entry's own row.
        """
        assert isinstance(self.site, Neuron)
        moved = shift_amount(self.site.value(inner), amount, self.axis)
        return self.site.entry(inner, moved)


def check_axis(axis: str) -> str:
    """Return ``axis`` if it is one of :data:`AXES`, or the one it is another name of."""
    known = _ALIASES.get(axis, axis) if isinstance(axis, str) else axis
    return check_choice("axis", known, AXES)


def shift_amount(activation: Tensor, amount: Tensor, axis: str) -> Tensor:
    """What is added to ``activation`` when it is shifted by ``amount`` along ``axis``.

    ``magnitude`` moves away from zero (amount > 0) or towards it and leaves an activation of
    exactly 0 alone; ``signed`` adds; ``scale`` adds that multiple of the activation; ``value``
    puts ``amount`` in the activation's place.
    """
    if axis == "magnitude":
        return amount * torch.sign(activation)
    if axis == "signed":
        return amount.expand_as(activation)
    if axis == "scale":
        return amount * activation
    return amount - activation
