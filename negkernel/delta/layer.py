"""One decoder layer of the delta forward: differences through attention and MLP, and new rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from negkernel.delta.trace import LayerTrace
from negkernel.families.activations import activate
from negkernel.families.parts import MLP, Block, Norm
from negkernel.neuron_values import at_site
from negkernel.ops.attention import attention
from negkernel.ops.mlp import mlp
from negkernel.ops.norm import norm
from negkernel.ops.shift import shift
from negkernel.signs import Signs
from negkernel.sites import shift_amount


@dataclass(frozen=True)
class Entries:
    """Neurons to shift in one layer [E]: ``row`` is a position among the rows at hand."""

    row: Tensor
    neuron: Tensor
    amount: Tensor
    signs: Signs | None = None

    def __len__(self) -> int:
        return len(self.row)


@dataclass
class Stream:
    """Rows under way, sorted by prompt.

    Attributes
    ----------
    row : Tensor [r] int64, on the CPU
        Which row of the batch each one is.
    prompt : Tensor [r] int64
        Its prompt, as an index into the base tensors at hand.
    d : Tensor [r, H]
        Difference of the residual stream.
    pending : Tensor [r, H] or None
        A branch's output not yet added to ``d``; the next norm adds it on its way.
    """

    row: Tensor
    prompt: Tensor
    d: Tensor
    pending: Tensor | None = None

    def settle(self) -> Tensor:
        """Add the pending branch and return ``d``."""
        if self.pending is not None:
            self.d += self.pending
            self.pending = None
        return self.d

    def join(self, other: Stream) -> Stream:
        """Merge ``other`` in, keeping rows sorted by prompt."""
        row, prompt = torch.cat([self.row, other.row]), torch.cat([self.prompt, other.prompt])
        d = torch.cat([self.settle(), other.settle()])
        order = torch.argsort(prompt, stable=True)
        return Stream(row[order.cpu()], prompt[order], d[order])

    def to(self, device: torch.device) -> None:
        """Move to a layer's device; a no-op when there already."""
        self.prompt, self.d = self.prompt.to(device), self.d.to(device)
        self.pending = None if self.pending is None else self.pending.to(device)


def attention_step(
    block: Block,
    base: LayerTrace,
    stream: Stream,
    prefix: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Difference of the attention branch, left pending in ``stream``.

    ``prefix`` is :meth:`Trace.prefix` of this layer.
    """
    spec = block.attention
    r = len(stream.row)
    dn = block.precision.factor(norm_step(block.attention_in, base.x_in, stream))
    dq = spec.query.linear(dn).view(r, spec.n_heads, -1)
    dk = spec.key.linear(dn).view(r, spec.n_kv_heads, -1)
    dv = spec.value.linear(dn).view(r, spec.n_kv_heads, -1)
    del dn
    dq = _norm(spec.query_norm, base.query_raw, dq, stream.prompt)
    dk = _norm(spec.key_norm, base.key_raw, dk, stream.prompt)
    if base.self_scale is not None:
        dk = dk * base.self_scale[stream.prompt]
    keys, values, start = prefix
    do = attention(
        base.query,
        base.key_self,
        base.value_self,
        dq,
        dk,
        dv,
        keys,
        values,
        start,
        stream.prompt,
        scale=spec.scale,
        softcap=spec.softcap,
    )
    out = spec.output.linear(do.view(r, -1))
    stream.pending = _branch(block, block.attention_out, base.attention_out, out, stream)
    if block.attention_sum is not None and base.attention_sum is not None:
        stream.d = norm_step(block.attention_sum, base.attention_sum, stream)


def mlp_step(
    block: Block,
    base: LayerTrace,
    stream: Stream,
    entries: Entries,
    site: str,
    axis: str,
) -> None:
    """Difference of the MLP branch with this layer's own shifts, left pending in ``stream``."""
    spec = block.mlp
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
    dh = mlp(base.gate, base.up, dgate, dup, stream.prompt, activation=spec.activation)
    if len(entries):
        at = (stream.prompt[entries.row], entries.neuron)
        up = base.up[at] + dup[entries.row, entries.neuron]
        gate = None
        if base.gate is not None and dgate is not None:
            gate = base.gate[at] + dgate[entries.row, entries.neuron]
        base_gate = None if base.gate is None else base.gate[at]
        entries, axis = signed(spec, (base_gate, base.up[at]), (gate, up), entries, site, axis)
        dh[entries.row, entries.neuron] += hidden_shift(spec, gate, up, entries, site, axis)
    out = spec.down.linear(dh)
    stream.pending = _branch(block, block.mlp_out, base.mlp_out, out, stream)
    if block.mlp_sum is not None and base.mlp_sum is not None:
        stream.d = norm_step(block.mlp_sum, base.mlp_sum, stream)


def enter(
    block: Block,
    base: LayerTrace,
    prompt: Tensor,
    entries: Entries,
    site: str,
    axis: str,
) -> Tensor:
    """Difference [r, H] of the residual stream after this layer for rows that enter in it.

    ``prompt`` [r] is sorted. Nothing of the layer is recomputed: the shift of the MLP's hidden
    vector is a sparse combination of ``down_proj`` columns.
    """
    at = (prompt[entries.row], entries.neuron)
    gate = None if base.gate is None else base.gate[at]
    change = hidden_shift(block.mlp, gate, base.up[at], entries, site, axis)
    neurons, column = torch.unique(entries.neuron, return_inverse=True)
    columns = block.mlp.down.columns(neurons)
    r = len(prompt)
    if len(entries) == r:  # one neuron a row, in row order after the sort below
        order = torch.argsort(entries.row)
        out = shift(columns, column[order], change[order])
    else:
        weights = change.new_zeros(r, len(neurons))
        weights[entries.row, column] = change
        out = weights @ columns
    fresh = Stream(prompt, prompt, out)
    d = _branch(block, block.mlp_out, base.mlp_out, out, fresh)
    return _norm(block.mlp_sum, base.mlp_sum, d, prompt)


def signed(
    spec: MLP,
    baseline: tuple[Tensor | None, Tensor],
    running: tuple[Tensor | None, Tensor],
    entries: Entries,
    site: str,
    axis: str,
) -> tuple[Entries, str]:
    """Entries and axis once it is settled whose sign they follow.

    ``baseline`` and ``running`` are gates and ups [E] without and with the row's earlier shifts.
    """
    if entries.signs is None:
        return entries, axis
    before, now = (at_site(gate, up, spec.activation, site) for gate, up in (baseline, running))
    return replace(entries, amount=entries.signs.shift(before, now, entries.amount)), "signed"


def hidden_shift(
    spec: MLP, gate: Tensor | None, up: Tensor, entries: Entries, site: str, axis: str
) -> Tensor:
    """Change [E] of the MLP's hidden vector when each entry's neuron is shifted.

    ``gate`` and ``up`` [E] are the activations as they stand in the entry's own row.
    """
    if site == "post":
        hidden = activate(up if gate is None else gate, spec.activation)
        hidden = hidden if gate is None else hidden * up
        return shift_amount(hidden, entries.amount, axis)
    shifted = gate if site == "gate" else up
    assert shifted is not None
    amount = shift_amount(shifted, entries.amount, axis)
    if site == "up":
        assert gate is not None
        return activate(gate, spec.activation) * amount
    # act(x + amount) - act(x) without cancellation: the mlp op on a batch of one row.
    one = torch.zeros(1, dtype=torch.int64, device=up.device)
    if site == "pre":
        return mlp(None, up[None], None, amount[None], one, activation=spec.activation)[0]
    still = torch.zeros_like(up)[None]
    return mlp(shifted[None], up[None], amount[None], still, one, activation=spec.activation)[0]


def norm_step(spec: Norm | None, x: Tensor, stream: Stream) -> Tensor:
    """Difference of a norm of the stream; adds the pending branch to ``stream.d`` on the way."""
    if spec is None:
        return stream.settle()
    branch, stream.pending = stream.pending, None
    return norm(
        x,
        stream.d,
        stream.prompt,
        weight=spec.gain(),
        eps=spec.eps,
        kind=spec.kind,
        branch=branch,
    )


def _norm(spec: Norm | None, x: Tensor | None, d: Tensor, prompt: Tensor) -> Tensor:
    """Difference of a norm that stands alone (a head norm, a norm after a sublayer).

    ``d`` is brought into the shape in which the base ``x`` was normed: [r, Hq, D] is [r, Hq * D]
    to a norm that spans the heads.
    """
    if spec is None or x is None:
        return d
    gain = spec.gain()
    own = gain if gain is not None and gain.dim() > 1 else None  # a weight for each head
    dn = norm(
        x,
        d.view(len(d), *x.shape[1:]),
        prompt,
        weight=gain if own is None else None,
        eps=spec.eps,
        kind=spec.kind,
    )
    return dn.view(d.shape) if own is None else dn.mul_(own)


def _branch(
    block: Block,
    spec: Norm | None,
    x: Tensor | None,
    out: Tensor,
    stream: Stream,
) -> Tensor:
    """Take a sublayer's output difference through the norm and factor that follow it."""
    out = _norm(spec, x, out, stream.prompt)
    return out if block.residual_scale == 1.0 else out.mul_(block.residual_scale)
