"""One encoder layer of the masked delta forward, and the rows that enter in it.

Differences are rows ``[T, H]`` of the positions that carry one, see :mod:`.carried`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.delta.layer import Entries, hidden_shift, signed
from negkernel.families.parts import Norm
from negkernel.families.rotary import rotate
from negkernel.masked.carried import Carried
from negkernel.masked.parts import EncoderLayer
from negkernel.masked.trace import LayerTrace
from negkernel.ops.attention import attention
from negkernel.ops.attention_full import attention_full
from negkernel.ops.mlp import mlp
from negkernel.ops.norm import norm
from negkernel.ops.shift import shift


def enter(
    layer: EncoderLayer,
    base: LayerTrace,
    at: Carried,
    entries: Entries,
    site: str,
    axis: str,
) -> Tensor:
    """Difference [R, H] of this layer's output at the probed position, for rows entering here."""
    up = at.base(base.up)
    gate = None if base.gate is None else at.base(base.gate)
    where = (at.prompt[entries.row], entries.neuron)
    gate_at = None if gate is None else gate[where]
    change = hidden_shift(layer.mlp, gate_at, up[where], entries, site, axis)
    neurons, column = torch.unique(entries.neuron, return_inverse=True)
    columns = layer.mlp.down.columns(neurons)
    if len(entries) == at.rows:  # one neuron a row
        order = torch.argsort(entries.row)
        out = shift(columns, column[order], change[order])
    else:
        weights = change.new_zeros(at.rows, len(neurons))
        weights[entries.row, column] = change
        out = weights @ columns
    if layer.post_norm:
        out = norm_difference(layer.mlp_norm, base.mlp_norm_in, out, at)
    return out


def step(
    layer: EncoderLayer,
    base: LayerTrace,
    d: Tensor,
    at: Carried,
    entries: Entries,
    site: str,
    axis: str,
    *,
    last: bool,
) -> tuple[Tensor, Carried]:
    """Take differences of a layer's input to those of its output.

    After the ``last`` layer only the probed position is wanted, otherwise all of them are.
    """
    dn = d
    if not layer.post_norm and layer.attention_norm is not None:
        dn = norm_difference(layer.attention_norm, base.attention_norm_in, d, at)
    heads, after = _attention(layer, base, dn, at, last=last)
    branch = layer.attention.output.linear(heads)
    if at.everywhere and last:
        d = d[at.at_probe]
    elif after.everywhere and not at.everywhere:
        d = at.spread(d)
    at = after
    if layer.post_norm:
        assert layer.attention_norm is not None
        x = base.attention_norm_in
        d = norm_difference(layer.attention_norm, x, d, at, branch=branch)
        dn = d
    else:
        x = base.mlp_norm_in
        dn = norm_difference(layer.mlp_norm, x, d, at, branch=branch)
    branch = _mlp(layer, base, dn, at, entries, site, axis)
    if layer.post_norm:
        d = norm_difference(layer.mlp_norm, base.mlp_norm_in, d, at, branch=branch)
    else:
        d += branch
    return d, at


def norm_difference(
    spec: Norm,
    x: Tensor,
    d: Tensor,
    at: Carried,
    *,
    branch: Tensor | None = None,
) -> Tensor:
    """Difference of a norm whose base input is ``x`` [S, P, H]; adds ``branch`` to ``d`` first."""
    return norm(
        at.base(x),
        d,
        at.index,
        weight=spec.gain(),
        eps=spec.eps,
        kind=spec.kind,
        branch=branch,
    )


def _attention(
    layer: EncoderLayer,
    base: LayerTrace,
    dn: Tensor,
    at: Carried,
    *,
    last: bool,
) -> tuple[Tensor, Carried]:
    """Difference of the heads' outputs [T', heads * D], and which positions it belongs to."""
    spec = layer.attention
    R, S = at.rows, at.length
    after = at.only_probe() if last else at.all_positions()
    wanted = dn[at.at_probe] if at.everywhere and last else dn
    dq = spec.query.linear(wanted).view(-1, spec.n_heads, spec.head_dim)
    dk = spec.key.linear(dn).view(-1, spec.n_heads, spec.head_dim)
    dv = spec.value.linear(dn).view(-1, spec.n_heads, spec.head_dim)
    if base.cos is not None and base.sin is not None:
        probed = at.probe[at.prompt]
        dq = _rotate(dq, base.cos, base.sin, probed, everywhere=at.everywhere and not last)
        dk = _rotate(dk, base.cos, base.sin, probed, everywhere=at.everywhere)
    if last and not at.everywhere:
        return _attention_at_probe(layer, base, dq, dk, dv, at).flatten(1), after
    if not at.everywhere:
        dq, dk, dv = at.spread(dq), at.spread(dk), at.spread(dv)
    P = len(at.probe)
    mask = None if base.mask is None else base.mask.expand(P, S, S)
    query = base.query
    if last:
        query = after.base(query)[None]
        mask = None if base.mask is None else base.mask[at.probe][:, None]
    heads = attention_full(
        query,
        base.key,
        base.value,
        dq.view(-1, R, spec.n_heads, spec.head_dim),
        dk.view(S, R, spec.n_heads, spec.head_dim),
        dv.view(S, R, spec.n_heads, spec.head_dim),
        at.prompt,
        scale=spec.scale,
        mask=mask,
    )
    return heads.view(-1, spec.n_heads * spec.head_dim), after


def _attention_at_probe(
    layer: EncoderLayer, base: LayerTrace, dq: Tensor, dk: Tensor, dv: Tensor, at: Carried
) -> Tensor:
    """Attention of the probed position when nothing else carries a difference: [R, heads, D].

    The other positions it sees are constants, as a causal prefix is, and their order is free.
    """
    S, P = at.length, len(at.probe)
    seen = torch.arange(S, device=at.probe.device) != at.probe[:, None]
    if base.mask is not None:
        seen &= base.mask[at.probe]
    prompt, position = torch.nonzero(seen, as_tuple=True)
    return attention(
        at.base(base.query),
        at.base(base.key),
        at.base(base.value),
        dq,
        dk,
        dv,
        base.key[position, prompt],
        base.value[position, prompt],
        torch.cat([prompt.new_zeros(1), torch.bincount(prompt, minlength=P).cumsum(0)]),
        at.prompt,
        scale=layer.attention.scale,
    )


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, probed: Tensor, *, everywhere: bool) -> Tensor:
    """Rotate differences [T, heads, D] by their positions' ``cos`` and ``sin`` [S, D]."""
    if not everywhere:
        return rotate(x, cos[probed], sin[probed])
    return rotate(x.view(len(cos), -1, x.shape[-1]), cos, sin).view_as(x)


def _mlp(
    layer: EncoderLayer,
    base: LayerTrace,
    dn: Tensor,
    at: Carried,
    entries: Entries,
    site: str,
    axis: str,
) -> Tensor:
    """Difference of the MLP branch [T, H] with this layer's own shifts."""
    spec = layer.mlp
    base_up = at.base(base.up)
    base_gate = None if base.gate is None else at.base(base.gate)
    dup = spec.up.linear(dn)
    dgate = None if spec.gate is None else spec.gate.linear(dn)
    dh = mlp(base_gate, base_up, dgate, dup, at.index, activation=spec.activation)
    if len(entries):
        row = at.at_probe[entries.row]
        where = (at.index[row], entries.neuron)
        up = base_up[where] + dup[row, entries.neuron]
        gate = None
        if base_gate is not None and dgate is not None:
            gate = base_gate[where] + dgate[row, entries.neuron]
        gate_at = None if base_gate is None else base_gate[where]
        entries, axis = signed(spec, (gate_at, base_up[where]), (gate, up), entries, site, axis)
        dh[row, entries.neuron] += hidden_shift(spec, gate, up, entries, site, axis)
    return spec.down.linear(dh)
