"""Base activations of neurons, read off the gates and ups that a trace keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.families.activations import activate


def at_site(gate: Tensor | None, up: Tensor, activation: str, site: str) -> Tensor:
    """Values [..., I] of a layer's neurons at a resolved site, see :mod:`negkernel.sites`."""
    if site == "gate":
        assert gate is not None
        return gate
    if site in ("up", "pre"):
        return up
    hidden = activate(up if gate is None else gate, activation)
    return hidden if gate is None else hidden * up


def side_by_side(layers: Sequence[Tensor]) -> Tensor:
    """Values [..., L, I] of layers with [..., I_l] each; NaN where a layer has no such neuron."""
    widest = max(one.shape[-1] for one in layers)
    return torch.stack([F.pad(x, (0, widest - x.shape[-1]), value=torch.nan) for x in layers], -2)


def of_neurons(
    layer_values: Callable[[int], Tensor], neurons: Tensor, dtype: torch.dtype
) -> Tensor:
    """Values [P, N], on the CPU, of ``neurons`` [P, N, 2] from those [P, I] of each layer."""
    out = torch.empty(neurons.shape[:2], dtype=dtype)
    for layer in torch.unique(neurons[..., 0]).tolist():
        at = neurons[..., 0] == layer
        prompt, _ = torch.nonzero(at, as_tuple=True)
        out[at] = layer_values(layer).cpu()[prompt, neurons[..., 1][at]]
    return out
