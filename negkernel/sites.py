"""What a shift means: which tensor the neuron is (site) and how the number moves it (axis)."""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.arguments import check_choice, shown

SITES = ("up", "gate", "post", "pre")
AXES = ("magnitude", "signed", "scale", "value")


def resolve_site(site: str, gated: bool) -> str:
    """Turn ``"paper"`` into the paper's neuron and refuse a site that the MLP does not have.

    The paper's neuron is the output of ``up_proj`` in a gated MLP and the activation after the
    nonlinearity elsewhere. An ungated MLP has the sites "pre" (before the nonlinearity) and
    "post"; a gated one "up", "gate" and "post" (input of ``down_proj``).
    """
    allowed = ("up", "gate", "post") if gated else ("pre", "post")
    if isinstance(site, str) and site == "paper":
        return "up" if gated else "post"
    if not isinstance(site, str) or site not in allowed:
        kind = "gated" if gated else "ungated"
        raise ValueError(
            f"site {shown(site)} is not a tensor of this model's {kind} MLP; expected 'paper' or "
            f"one of {', '.join(map(repr, allowed))}"
        )
    return site


def check_axis(axis: str) -> str:
    """Return ``axis`` if it is one of :data:`AXES`."""
    return check_choice("axis", axis, AXES)


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
