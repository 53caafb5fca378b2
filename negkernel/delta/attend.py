"""Take differences through attention, from the positions that change to those that are wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.delta.positions import Layout
from negkernel.delta.prefix_tree import gather
from negkernel.delta.trace import Trace
from negkernel.families.parts import Attention, Norm
from negkernel.families.rotary import rotate
from negkernel.ops.attention import attention
from negkernel.ops.attention_full import attention_full
from negkernel.ops.norm import norm


def heads_difference(
    spec: Attention, trace: Trace, index: int, dn: Tensor, at: Layout, to: Layout
) -> Tensor:
    """Difference of the heads' outputs [D', Hq, D] at the places ``to``.

    Parameters
    ----------
    index : int
        The layer.
    dn : Tensor [D, H]
        Difference of the attention's input at the places ``at``.
    """
    base = trace.layers[index]
    wanted = to if len(to.index) < len(at.index) else at
    dq = spec.query.linear(at.transfer(dn, wanted)).view(-1, spec.n_heads, spec.head_dim)
    dk = spec.key.linear(dn).view(-1, spec.n_kv_heads, spec.head_dim)
    dv = spec.value.linear(dn).view(-1, spec.n_kv_heads, spec.head_dim)
    dq = norm_alone(spec.query_norm, base.query_raw, dq, wanted.index)
    dk = norm_alone(spec.key_norm, base.key_raw, dk, at.index)
    if base.self_scale is not None:
        dk = dk * base.self_scale[at.index]
    if not trace.carried.single and base.cos is not None and base.sin is not None:
        dq = rotate(dq, base.cos[wanted.index], base.sin[wanted.index])
        dk = rotate(dk, base.cos[at.index], base.sin[at.index])
    if trace.carried.single or _only_read(at, to, trace):
        return _one_position(spec, trace, index, (dq, dk, dv), at)
    dq = wanted.transfer(dq, to)
    do = torch.empty_like(dq)
    queries = {p: block for p, _, block in to.blocks()}
    for p, n, block in at.blocks():
        sight = trace.sight(p, at.places, to.places, spec.window)
        mask = None if sight.mask is None else sight.mask.to(dq.device)
        heads = attention_full(
            gather(base.query, to.places.of(p)),
            gather(base.keys, sight.nodes),
            gather(base.values, sight.nodes),
            *(_by_place(x, n) for x in (dq[queries[p]], dk[block], dv[block])),
            scale=spec.scale,
            softcap=spec.softcap,
            mask=mask,
        )
        do[queries[p]] = heads.flatten(0, 1)
    return do


def _by_place(x: Tensor, rows: int) -> Tensor:
    """View a prompt's differences [w * n, ...] as [w, n, ...]."""
    return x.view(-1, rows, *x.shape[1:])


def _only_read(at: Layout, to: Layout, trace: Trace) -> bool:
    """Whether the one position that is read is the only one to change and to be wanted."""
    read = trace.carried.read.index
    alike = torch.equal(at.places.index, read) and torch.equal(to.places.index, read)
    return alike and trace.carried.one_read


def _one_position(
    spec: Attention,
    trace: Trace,
    index: int,
    d: tuple[Tensor, Tensor, Tensor],
    at: Layout,
) -> Tensor:
    """Attention of a position that alone changes: all that it sees beside itself is constant."""
    base, read = trace.layers[index], trace.carried.read
    key, value = base.key_self, base.value_self
    query = base.query
    if key is None or value is None:
        query = gather(query, read.index)
        nodes = trace.nodes[read.index]
        key, value = gather(base.keys, nodes), gather(base.values, nodes)
    prompt = at.index
    if not trace.carried.single:
        prompt = torch.arange(trace.n_prompts).repeat_interleave(at.rows).to(query.device)
    keys, values, start = trace.prefix(index, spec.window)
    return attention(
        query,
        key,
        value,
        *d,
        keys,
        values,
        start,
        prompt,
        scale=spec.scale,
        softcap=spec.softcap,
    )


def norm_alone(spec: Norm | None, x: Tensor | None, d: Tensor, index: Tensor) -> Tensor:
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
        index,
        weight=gain if own is None else None,
        eps=spec.eps,
        kind=spec.kind,
    )
    return dn.view(d.shape) if own is None else dn.mul_(own)
