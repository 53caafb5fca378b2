"""Take gradients of p(target) back to every neuron by vector-Jacobian products without a graph.

In a causal model only computations at and after the shifted position matter, at the probed token a
single one: the keys and values before it are constants. So K labels of P prompts need one base and
P * K products, carried here as the rows of one batch from the head down, over the positions that
the shift can reach. At both ends fewer are enough: above, only the position that is read reaches
the head; below, only the shifted ones are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from negkernel.delta.head import from_answers
from negkernel.delta.inject import picked
from negkernel.delta.positions import Layout
from negkernel.delta.prefix_tree import gather, pad_paths
from negkernel.delta.trace import LayerTrace, Trace
from negkernel.delta.vjp import attention_vjp, positions_vjp, through_norm
from negkernel.families.activations import activate, activate_slope
from negkernel.families.parts import Block, Description
from negkernel.families.resident import resident
from negkernel.families.rotary import rotate, rotate_back
from negkernel.sites import Site
from negkernel.sites.site import InnerGradients

# Gradients in the heads' outputs -> in queries, keys and values, in the rotated frame.
HeadsVJP = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@torch.no_grad()
def gradients(
    model: Description, parts: Sequence[tuple[Trace, Tensor]], *, site: Site, log: bool = False
) -> Iterator[tuple[int, list[tuple[Tensor, Layout]]]]:
    """Gradients of p(target) with respect to each layer's neurons, from the last layer down.

    Parameters
    ----------
    parts : list of (Trace, Tensor [Q, K] int64)
        Prompts and columns (:mod:`negkernel.request.answers`) that go down the layers together.
    log : bool
        Those of log p(target) instead, which do not vanish with it.

    Yields
    ------
    layer, list of (gradient [D, I], layout)
        ``dp(target) / da`` of each part, in the state dtype, for K rows of each prompt over the
        shifted places.
    """
    with resident(model.head_loaders):
        under_way = [_Descent(model, trace, targets, log) for trace, targets in parts]
    for index in reversed(range(model.n_layers)):
        block = model.blocks[index]
        # Nothing is handed out while the layer's weights are in: what is asked for one by one may
        # never be asked for to the end.
        with resident(block.loaders):
            found = [one.through(block, index, site) for one in under_way]
        yield index, found


class _Descent:
    """Gradients of some prompts on their way down: [D, H] in the stream ``at`` its places."""

    def __init__(self, model: Description, trace: Trace, targets: Tensor, log: bool):
        self.trace, self.rows = trace, torch.full((trace.n_prompts,), targets.shape[1])
        self.g, self.factor = from_answers(model, trace, targets, log=log)
        carried, device = trace.carried, self.g.device
        self.at = Layout.over(carried.read, self.rows, device)
        self.wanted = self.at
        if not carried.single:
            self.wanted = Layout.over(carried.shifted, self.rows, device)

    def through(self, block: Block, index: int, site: Site) -> tuple[Tensor, Layout]:
        """Go down a layer; returns the gradients in its neurons."""
        base, carried = self.trace.layers[index], self.trace.carried
        g, at = self.g.to(block.device), self.at.to(block.device)
        met: dict[str, Any] = {"residual": g}
        g = through_norm(block.mlp_sum, base.mlp_sum, g, at.index)
        met["mlp_out"], met["hidden"], g_mlp_in = through_mlp(block, base, g, at.index)
        if index or site.stage not in met:
            g_mid, met["attention_out"] = to_attention(block, base, g, g_mlp_in, at.index)
            met["heads"] = block.attention.output.transpose(met["attention_out"])
        neurons = picked(site, base, index, met[site.stage], at.index)
        neurons *= self.factor[at.row].to(block.device)
        if index:
            below = at
            if not carried.single:
                places = carried.shifted if index == 1 else carried.all
                below = Layout.over(places, self.rows, g.device)
            heads = _heads_vjp(block, self.trace, index, at, below)
            g_in = through_attention(block, base, met["heads"], at, below, heads)
            self.g = at.transfer(g_mid, below) + g_in
            self.at = below
        return at.transfer(neurons, self.wanted), self.wanted


def through_mlp(
    block: Block, base: LayerTrace, g: Tensor, index: Tensor
) -> tuple[Tensor, InnerGradients, Tensor]:
    """Gradients in the down projection's output [R, H], inside, and in the MLP's input [R, H].

    The last is that before the input's norm.
    """
    spec, inner = block.mlp, base.inner
    g = g if block.residual_scale == 1.0 else g * block.residual_scale
    g = through_norm(block.mlp_out, base.mlp_out, g, index)
    g_hidden = spec.down.transpose(g)
    if inner.gate is None or spec.gate is None:
        slope = activate_slope(inner.up, spec.activation)[index]
        found = InnerGradients(g_hidden, g_hidden * slope)
        g_in = spec.up.transpose(found.up)
    else:
        g_up = g_hidden * activate(inner.gate, spec.activation)[index]
        g_gate = g_hidden * (inner.up * activate_slope(inner.gate, spec.activation))[index]
        g_in = spec.up.transpose(g_up) + spec.gate.transpose(g_gate)
        found = InnerGradients(g_hidden, g_up, g_gate)
    x = base.x_in if block.parallel else base.x_mid
    return g, found, through_norm(block.mlp_in, x, g_in, index)


def to_attention(
    block: Block, base: LayerTrace, g: Tensor, g_mlp_in: Tensor, index: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients [R, H] in what skips the attention, and in the output projection's output.

    What is given are those in the layer's output, before its norm, and in the MLP's input.
    """
    g_mid = g if block.parallel else g + g_mlp_in
    g_mid = through_norm(block.attention_sum, base.attention_sum, g_mid, index)
    g_out = g_mid if block.residual_scale == 1.0 else g_mid * block.residual_scale
    g_out = through_norm(block.attention_out, base.attention_out, g_out, index)
    return g_mid + g_mlp_in if block.parallel else g_mid, g_out


def through_attention(
    block: Block,
    base: LayerTrace,
    g_heads: Tensor,
    at: Layout,
    below: Layout,
    heads_vjp: HeadsVJP,
) -> Tensor:
    """Gradient in the attention's input, ``below``, from those [R, Hq * D] in heads' outputs.

    ``heads_vjp`` takes gradients ``at`` the places of the output to those in queries there, and in
    keys and values ``below``.
    """
    spec = block.attention
    g_query, g_key, g_value = heads_vjp(g_heads.view(len(g_heads), spec.n_heads, -1))
    g_query = at.transfer(g_query, below)
    if base.cos is not None and base.sin is not None:
        cos, sin = base.cos[below.index], base.sin[below.index]
        g_query, g_key = rotate_back(g_query, cos, sin), rotate_back(g_key, cos, sin)
    g_query = through_norm(spec.query_norm, base.query_raw, g_query, below.index)
    g_key = through_norm(spec.key_norm, base.key_raw, g_key, below.index)
    g_in = spec.query.transpose(g_query.flatten(1))
    g_in += spec.key.transpose(g_key.flatten(1))
    g_in += spec.value.transpose(g_value.flatten(1))
    return through_norm(block.attention_in, base.x_in, g_in, below.index)


def _heads_vjp(block: Block, trace: Trace, index: int, at: Layout, below: Layout) -> HeadsVJP:
    """Attention of a layer, backwards."""
    spec, base = block.attention, trace.layers[index]

    def own(g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients in each prompt's own query, key and value: see :func:`attention_vjp`."""
        # In the rotated frame: turning a few queries is cheaper than turning back all keys.
        query = base.query
        if base.cos is not None and base.sin is not None:
            query = rotate(query, base.cos, base.sin)
        seen, length = pad_paths(trace.seen(spec.window))
        keys, values = gather(base.keys, seen), gather(base.values, seen)
        g = g.view(trace.n_prompts, -1, *g.shape[1:])
        return attention_vjp(
            query, keys, values, length.to(g.device), g, scale=spec.scale, softcap=spec.softcap
        )

    def several(g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        g_query = torch.empty_like(g)
        shape = len(below.index), spec.n_kv_heads, spec.head_dim
        g_key, g_value = g.new_empty(shape), g.new_empty(shape)
        sinks = {p: block for p, _, block in at.blocks()}
        for p, n, sources in below.blocks():
            sight = trace.sight(p, below.places, at.places, spec.window)
            found = positions_vjp(
                gather(base.query, at.places.of(p)),
                (gather(base.keys, sight.nodes), gather(base.values, sight.nodes)),
                sight.changed,
                g[sinks[p]].view(-1, n, *g.shape[1:]),
                scale=spec.scale,
                softcap=spec.softcap,
                mask=None if sight.mask is None else sight.mask.to(g.device),
            )
            g_query[sinks[p]], g_key[sources], g_value[sources] = (x.flatten(0, 1) for x in found)
        return g_query, g_key, g_value

    return own if trace.carried.single else several
