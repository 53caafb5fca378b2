"""Take differences through one layer: attention, MLP, and the rows that enter in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from negkernel.delta.attend import heads_difference, norm_alone
from negkernel.delta.inject import Entries as Entries
from negkernel.delta.inject import add_directions, add_heads, fresh
from negkernel.delta.positions import Layout
from negkernel.delta.trace import LayerTrace, Trace
from negkernel.families.parts import Block, Norm
from negkernel.ops.mlp import mlp
from negkernel.ops.norm import norm
from negkernel.sites import Neuron, Spot


@dataclass
class Stream:
    """Rows under way, sorted by prompt.

    Attributes
    ----------
    row : Tensor [r] int64, on the CPU
        Which row of the batch each one is.
    at : Layout
        Where their D differences are.
    d : Tensor [D, H]
        Difference of the residual stream.
    pending : Tensor [D, H] or None
        A branch's output not yet added to ``d``; the next norm adds it on its way.
    """

    row: Tensor
    at: Layout
    d: Tensor
    pending: Tensor | None = None

    def settle(self) -> Tensor:
        """Add the pending branch and return ``d``."""
        if self.pending is not None:
            self.d += self.pending
            self.pending = None
        return self.d

    def join(self, other: Stream, prompt: Tensor) -> Stream:
        """Merge ``other`` in, keeping rows sorted by their ``prompt``, that of the batch's rows."""
        row = torch.cat([self.row, other.row])
        index = torch.cat([self.at.index, other.at.index])
        d = torch.cat([self.settle(), other.settle()])
        order = torch.argsort(index, stable=True)
        at = Layout(self.at.places, self.at.rows + other.at.rows, index[order])
        return Stream(row[torch.argsort(prompt[row], stable=True)], at, d[order])

    def move(self, to: Layout) -> None:
        """Carry differences at other places from here on; those it does not carry yet are 0."""
        self.d, self.at = self.at.transfer(self.settle(), to), to

    def to(self, device: torch.device) -> None:
        """Move to a layer's device; a no-op when there already."""
        self.at, self.d = self.at.to(device), self.d.to(device)
        self.pending = None if self.pending is None else self.pending.to(device)


def attention_step(
    block: Block, trace: Trace, index: int, stream: Stream, to: Layout, entries: Entries
) -> None:
    """Difference of the attention branch at the places ``to``, left pending in ``stream``."""
    base = trace.layers[index]
    dn = block.precision.factor(norm_step(block.attention_in, base.x_in, stream))
    do = heads_difference(block.attention, trace, index, dn, stream.at, to)
    del dn
    if entries.at("heads"):
        add_heads(base, do, to.index, entries)
    out = block.attention.output.linear(do.view(len(do), -1))
    if entries.at("attention_out"):
        add_directions(block, base, out, to.index, entries)
    stream.move(to)
    stream.pending = _branch(block, block.attention_out, base.attention_out, out, stream.at)
    if block.attention_sum is not None and base.attention_sum is not None:
        stream.d = norm_step(block.attention_sum, base.attention_sum, stream)


def mlp_step(block: Block, base: LayerTrace, stream: Stream, entries: Entries) -> None:
    """Difference of the MLP branch with this layer's own shifts, left pending in ``stream``."""
    spec, index = block.mlp, stream.at.index
    if block.parallel:  # the MLP reads the block's input, so the attention has to wait its turn
        attended, stream.pending = stream.pending, None
        dn = norm_step(block.mlp_in, base.x_in, stream)
        stream.pending = attended
        stream.settle()
    else:
        dn = norm_step(block.mlp_in, base.x_mid, stream)
    dn = block.precision.factor(dn)
    dup = spec.up.linear(dn)
    dgate = None if spec.gate is None else spec.gate.linear(dn)
    dh = mlp(base.inner.gate, base.inner.up, dgate, dup, index, activation=spec.activation)
    if entries.at("hidden"):
        _add_hidden(base, dh, (dgate, dup), index, entries)
    out = spec.down.linear(dh)
    if entries.at("mlp_out"):
        add_directions(block, base, out, index, entries)
    stream.pending = _branch(block, block.mlp_out, base.mlp_out, out, stream.at)
    if block.mlp_sum is not None and base.mlp_sum is not None:
        stream.d = norm_step(block.mlp_sum, base.mlp_sum, stream)
    if entries.at("residual"):
        add_directions(block, base, stream.settle(), index, entries)


def _add_hidden(
    base: LayerTrace,
    dh: Tensor,
    moves: tuple[Tensor | None, Tensor],
    index: Tensor,
    entries: Entries,
) -> None:
    """Shift neurons, in place, in the hidden vector's difference; ``moves`` are gate's and up's."""
    (dgate, dup), own, spot = moves, (entries.row, entries.neuron), entries.spot
    before = base.inner.at(index[entries.row], entries.neuron)
    moved, amount = before.moved(None if dgate is None else dgate[own], dup[own]), entries.amount
    if entries.signs is not None:
        assert isinstance(spot.site, Neuron)
        value = spot.site.value
        amount = entries.signs.shift(value(before), value(moved), amount)
        spot = Spot(spot.site, "signed")
    dh[own] += spot.entry(moved, amount)


def enter(block: Block, base: LayerTrace, row: Tensor, at: Layout, entries: Entries) -> Stream:
    """Rows [r] that enter in this layer, laid out ``at`` their shifted places, after it.

    Nothing of the layer is recomputed but the MLP, where it reads what is shifted.
    """
    out = fresh(block, base, at.index, entries)
    if entries.at("residual"):
        return Stream(row, at, out)
    if entries.at("hidden") or entries.at("mlp_out"):
        out = _branch(block, block.mlp_out, base.mlp_out, out, at)
        return Stream(row, at, norm_alone(block.mlp_sum, base.mlp_sum, out, at.index))
    out = _branch(block, block.attention_out, base.attention_out, out, at)
    stream = Stream(row, at, norm_alone(block.attention_sum, base.attention_sum, out, at.index))
    if not block.parallel:
        mlp_step(block, base, stream, entries)
    return stream


def norm_step(spec: Norm | None, x: Tensor, stream: Stream) -> Tensor:
    """Difference of a norm of the stream; adds the pending branch to ``stream.d`` on the way."""
    if spec is None:
        return stream.settle()
    branch, stream.pending = stream.pending, None
    return norm(
        x,
        stream.d,
        stream.at.index,
        weight=spec.gain(),
        eps=spec.eps,
        kind=spec.kind,
        branch=branch,
    )


def _branch(block: Block, spec: Norm | None, x: Tensor | None, out: Tensor, at: Layout) -> Tensor:
    """Take a sublayer's output difference through the norm and factor that follow it."""
    out = norm_alone(spec, x, out, at.index)
    return out if block.residual_scale == 1.0 else out.mul_(block.residual_scale)
