"""Measure how far a unit of shift reaches: the length of what it adds to the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.delta.trace import Trace
from negkernel.families.parts import Block, Description
from negkernel.families.resident import resident
from negkernel.methods.base import side_by_side
from negkernel.sites import Inner, Neuron, Spot

COLUMNS = 1024  # of a down projection that are in the state dtype at once


def reaches(spot: Spot) -> bool:
    """Whether a shift adds a multiple of one vector, so that a length says all."""
    return isinstance(spot.site, Neuron) and spot.site.linear and spot.axis != "value"


@torch.no_grad()
def reach(model: Description, base: Trace, layers: slice, spot: Spot) -> Tensor:
    """Length [P, l, I] of what a unit of shift adds in each of some layers, on the CPU.

    Where a neuron is shifted at several positions, they make one long vector.
    """
    found = []
    for block, kept in zip(model.blocks[layers], base.layers[layers], strict=True):
        with resident(block.loaders):
            by_prompt = [
                _moved(kept.inner.at(base.carried.shifted.of(p)), spot)
                for p in range(base.n_prompts)
            ]
            found.append((torch.stack(by_prompt) * _lengths(block)).cpu())
    return side_by_side(found)


def _moved(inner: Inner, spot: Spot) -> Tensor:
    """How far [I] a unit moves the hidden vector, at all shifted positions together."""
    change = spot.entry(inner, torch.ones_like(inner.up))
    return torch.linalg.vector_norm(change, dim=0)


def _lengths(block: Block) -> Tensor:
    """Length [I] of each column of the down projection."""
    down = block.mlp.down
    parts = torch.arange(down.shape[1]).split(COLUMNS)
    return torch.cat([torch.linalg.vector_norm(down.columns(part), dim=1) for part in parts])
