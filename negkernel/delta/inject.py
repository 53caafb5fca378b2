"""Add what rows shift to the tensor of a layer in which their site lies.

In the order in which a layer computes them: "heads", the heads' outputs side by side;
"attention_out", the output projection's output; "hidden", the down projection's input; "mlp_out",
its output; "residual", the layer's output. The two outputs are those before any norm or factor that
a family lets follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from negkernel.delta.trace import LayerTrace, finish
from negkernel.families.parts import Block
from negkernel.families.resident import resident
from negkernel.ops.shift import shift
from negkernel.request.signs import Signs
from negkernel.sites import Direction, Head, Neuron, Site, Spot, coordinates, shift_amount
from negkernel.sites.site import InnerGradients


@dataclass(frozen=True)
class Entries:
    """Neurons to shift in one layer [E]: ``row`` is one of the differences at hand.

    Attributes
    ----------
    row, neuron : Tensor [E] int64
    amount : Tensor [E]
    spot : Spot
    layer : int
    signs : Signs or None
    """

    row: Tensor
    neuron: Tensor
    amount: Tensor
    spot: Spot
    layer: int
    signs: Signs | None = None

    def __len__(self) -> int:
        return len(self.row)

    def at(self, stage: str) -> bool:
        """Whether there are some, at this tensor of the layer."""
        return len(self.row) > 0 and self.spot.site.stage == stage


@torch.no_grad()
def activations(block: Block, base: LayerTrace, site: Site, layer: int) -> Tensor:
    """Activations [C, I] of a layer's neurons at the carried positions, without a shift."""
    if isinstance(site, Neuron):
        return site.value(base.inner)
    if isinstance(site, Direction):
        vectors = site.of(layer, base.x_in)
        if not len(vectors):
            return base.x_in.new_empty(len(base.x_in), 0)
        with resident(block.loaders):
            return coordinates(_tensor(block, base, site.stage), vectors)
    assert isinstance(site, Head)
    return base.attended.new_ones(base.attended.shape[:2])


def picked(site: Site, base: LayerTrace, layer: int, g: Any, index: Tensor) -> Tensor:
    """Gradients [R, I] in a layer's neurons from those at their stage, of rows at ``index``."""
    if isinstance(site, Neuron):
        assert isinstance(g, InnerGradients)
        return site.pick(g)
    if isinstance(site, Direction):
        return g @ site.of(layer, g).t()
    heads = base.attended[index]
    return (g.view(heads.shape) * heads).sum(-1)


def fresh(block: Block, base: LayerTrace, index: Tensor, entries: Entries) -> Tensor:
    """Difference [D, H] at the output that a site leads to, where nothing else has changed.

    ``index`` [D] are the carried positions. Nothing is recomputed: a hidden vector's or a head's
    shift is a sparse combination of vectors, columns of ``down_proj`` or heads' shares.
    """
    site, where = entries.spot.site, index[entries.row]
    if isinstance(site, Neuron):
        change = entries.spot.entry(base.inner.at(where, entries.neuron), entries.amount)
        neurons, which = torch.unique(entries.neuron, return_inverse=True)
        return _combined(block.mlp.down.columns(neurons), which, change, entries, len(index))
    if isinstance(site, Direction):
        return _combined(*_along(block, base, None, index, entries), entries, len(index))
    n_heads = base.attended.shape[1]
    pairs, which = torch.unique(where * n_heads + entries.neuron, return_inverse=True)
    at, head = pairs // n_heads, pairs % n_heads
    alone = base.attended.new_zeros(len(pairs), *base.attended.shape[1:])
    one = torch.arange(len(pairs), device=alone.device)
    alone[one, head] = base.attended[at, head]
    shares = block.attention.output.linear(alone.flatten(1))
    return _combined(shares, which, _factor(entries), entries, len(index))


def add_heads(base: LayerTrace, do: Tensor, index: Tensor, entries: Entries) -> None:
    """Shift heads, in place, in the difference ``do`` [D, Hq, D'] of their outputs."""
    own = entries.row, entries.neuron
    now = base.attended[index[entries.row], entries.neuron] + do[own]
    do[own] += _factor(entries)[:, None] * now


def add_directions(
    block: Block, base: LayerTrace, d: Tensor, index: Tensor, entries: Entries
) -> None:
    """Shift along directions, in place, in the difference ``d`` [D, H] of their tensor."""
    vectors, which, change = _along(block, base, d, index, entries)
    weights = d.new_zeros(len(d), len(vectors))
    weights[entries.row, which] = change
    d.addmm_(weights, vectors)


def _along(
    block: Block, base: LayerTrace, d: Tensor | None, index: Tensor, entries: Entries
) -> tuple[Tensor, Tensor, Tensor]:
    """Directions [U, H] that are shifted, which of them each entry's is, and how far [E].

    ``d`` is what else has changed in their tensor, None for nothing.
    """
    site, axis = entries.spot.site, entries.spot.axis
    assert isinstance(site, Direction)
    neurons, which = torch.unique(entries.neuron, return_inverse=True)
    vectors = site.of(entries.layer, base.x_in)[neurons]
    if axis == "signed":
        return vectors, which, entries.amount
    now = coordinates(_tensor(block, base, site.stage), vectors)[index[entries.row], which]
    if d is not None:
        now = now + coordinates(d, vectors)[entries.row, which]
    return vectors, which, shift_amount(now, entries.amount, axis)


def _factor(entries: Entries) -> Tensor:
    """What is added to heads' factors of 1 [E]."""
    return shift_amount(torch.ones_like(entries.amount), entries.amount, entries.spot.axis)


def _combined(
    vectors: Tensor, which: Tensor, change: Tensor, entries: Entries, rows: int
) -> Tensor:
    """Sum of ``change`` [E] times ``vectors[which]`` over the entries of each row [rows, H]."""
    if len(entries) == rows:  # one a row, in row order after the sort below
        order = torch.argsort(entries.row)
        return shift(vectors, which[order], change[order])
    weights = change.new_zeros(rows, len(vectors))
    weights[entries.row, which] = change
    return weights @ vectors


def _tensor(block: Block, base: LayerTrace, stage: str) -> Tensor:
    """One of a layer's three outputs [C, H] at the carried positions, without a shift."""
    if stage == "attention_out":
        return block.attention.output.affine(base.attended.flatten(1))
    out = block.mlp.down.affine(base.inner.hidden)
    return out if stage == "mlp_out" else finish(block, base.x_mid, out)[0]
