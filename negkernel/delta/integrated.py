"""Gradients along a path: a whole layer's neurons at the probed token scaled by a factor.

Integrated gradients average dp/da over such a path. Each (layer, factor) is a row, here a state
rather than a difference: a last token that leaves its layer changed, runs through the layers above
on the prompt's keys and values, and takes its gradient back down to the layer it came from. All
rows of a prompt share every matrix multiplication.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from negkernel.delta.backward import through_attention, through_mlp, to_attention
from negkernel.delta.head import from_logits
from negkernel.delta.positions import Layout, Places
from negkernel.delta.prefix_tree import gather
from negkernel.delta.trace import LayerTrace, Pass, Trace, Visit, finish, read_out, run_layer
from negkernel.delta.vjp import shared_attention_vjp, through_norm
from negkernel.families.parts import Block, Description
from negkernel.families.resident import resident
from negkernel.families.rotary import rotate
from negkernel.sites import Neuron


@dataclass(frozen=True)
class _Alive:
    """Rows that have entered below a layer: which they are, of which prompt, what they computed."""

    row: Tensor
    prompt: Tensor
    layer: LayerTrace


@torch.no_grad()
def path_gradients(
    model: Description, base: Trace, targets: Tensor, scales: Sequence[float], *, site: Neuron
) -> Iterator[tuple[int, Tensor]]:
    """Gradients of p(target) in each layer's neurons when these are scaled, averaged over scales.

    Parameters
    ----------
    base : Trace
        Of prompts that carry their last token alone.
    targets : Tensor [P, K] int64
        Tokens of the traced prompts.
    scales : list of float
        Factors of the layer's neurons at the probed token, all neurons of one layer at once.

    Yields
    ------
    layer, gradient [P, K, I]
        Mean over ``scales`` of dp(target)/da at the scaled layer, from the last layer down.
    """
    P, K = targets.shape
    L, m = model.n_layers, len(scales)
    factor = torch.tensor(scales, dtype=model.precision.state)
    # Rows are numbered [P, L, m], so those above any layer are sorted by prompt.
    prompt = torch.arange(P).repeat_interleave(L * m)
    entry = torch.arange(L).repeat_interleave(m).repeat(P)
    x_final = base.head.x_final
    x = x_final.new_empty(P * L * m, x_final.shape[1])
    scaled: list[LayerTrace] = []
    alive: list[_Alive] = []
    for index, block in enumerate(model.blocks):
        x = x.to(block.device)
        above = torch.nonzero(entry < index)[:, 0]
        here = torch.nonzero(entry == index)[:, 0]
        with resident(block.loaders):
            if len(above):
                alive.append(_run(block, base, index, x, above, prompt[above]))
            layer, x[here] = _enter(block, base.layers[index], prompt[here], factor.repeat(P), site)
        scaled.append(layer)
    with resident(model.head_loaders):
        top = read_out(model, x.to(x_final.device))
        g, lacking = from_logits(model, top, targets[prompt])
    g, lacking = g.view(len(prompt), K, -1), lacking.view(len(prompt), K, 1)
    for index in reversed(range(L)):
        block = model.blocks[index]
        g = g.to(block.device)
        here = torch.nonzero(entry == index)[:, 0]
        with resident(block.loaders):
            neurons, _ = _down(block, scaled[index], g[here], site)
            if index:
                rows = alive[index - 1]
                g[rows.row] = _below(block, rows, base, g[rows.row], site)
        neurons = neurons.view(P * m, K, -1) * lacking[here].to(block.device)
        yield index, neurons.view(P, m, K, -1).mean(1)


def _enter(
    block: Block, base: LayerTrace, prompt: Tensor, factor: Tensor, site: Neuron
) -> tuple[LayerTrace, Tensor]:
    """Rows that enter: their layer's trace with neurons scaled by ``factor``, and its output."""
    prompt, factor = prompt.to(block.device), factor.to(block.device)[:, None]
    inner, hidden = site.scaled(base.inner.at(prompt), factor)
    x_mid = base.x_mid[prompt]
    x, after = finish(block, x_mid, block.mlp.down.affine(hidden))
    return replace(base, x_in=base.x_in[prompt], x_mid=x_mid, inner=inner, **after), x


def _run(block: Block, base: Trace, index: int, x: Tensor, row: Tensor, prompt: Tensor) -> _Alive:
    """Take the rows ``row`` of ``x`` through a layer, in place; each is one more node."""
    layer, n_nodes = base.layers[index], len(base.packing.tokens)
    rotation = None
    if layer.cos is not None and layer.sin is not None:
        chosen = prompt.to(x.device)
        rotation = layer.cos[chosen], layer.sin[chosen]
    over = Pass(
        kept=torch.arange(len(row)),
        visits=_visits(base, prompt, n_nodes, block.attention.window),
        top=False,
        single=True,
        past=(layer.keys, layer.values),
    )
    x[row], found = run_layer(block, x[row], rotation, over)
    return _Alive(row, prompt, found)


def _visits(base: Trace, prompt: Tensor, n_nodes: int, window: int | None) -> list[Visit]:
    """Rows of a prompt as queries of one sequence: each sees the prompt's prefix and itself."""
    visits, seen = [], base.seen(window)
    for p in torch.unique(prompt).tolist():
        rows, prefix = torch.nonzero(prompt == p)[:, 0], seen[p][:-1]
        itself = torch.eye(len(rows), dtype=torch.bool)
        mask = torch.cat([torch.ones(len(rows), len(prefix), dtype=torch.bool), itself], dim=1)
        visits.append(Visit(rows[None], torch.cat([prefix, n_nodes + rows])[None], mask))
    return visits


def _down(
    block: Block, layer: LayerTrace, g: Tensor, site: Neuron
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Gradients [r * K, I] in the neurons of a layer from those in its output [r, K, H].

    Also those in the output and in the MLP's input, before their norms.
    """
    own = torch.arange(len(g), device=g.device).repeat_interleave(g.shape[1])
    g = through_norm(block.mlp_sum, layer.mlp_sum, g.flatten(0, 1), own)
    _, found, g_mlp_in = through_mlp(block, layer, g, own)
    return site.pick(found), (g, g_mlp_in)


def _below(block: Block, rows: _Alive, base: Trace, g: Tensor, site: Neuron) -> Tensor:
    """Gradient [r, K, H] in a layer's input from that in its output."""
    _, found = _down(block, rows.layer, g, site)
    spec, layer = block.attention, rows.layer
    first = len(layer.keys) - len(rows.row)  # of the rows' own nodes
    query = layer.query
    if layer.cos is not None and layer.sin is not None:
        query = rotate(query, layer.cos, layer.sin)
    prefixes = [seen[:-1] for seen in base.seen(spec.window)]

    def heads_vjp(g_heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        g_heads, parts = g_heads.view(len(rows.row), -1, *g_heads.shape[1:]), []
        for p in torch.unique(rows.prompt).tolist():
            own, seen = torch.nonzero(rows.prompt == p)[:, 0], prefixes[p]
            here = own.to(g_heads.device)
            parts.append(
                shared_attention_vjp(
                    query[here],
                    (gather(layer.keys, first + own), gather(layer.values, first + own)),
                    (gather(layer.keys, seen), gather(layer.values, seen)),
                    g_heads[here],
                    scale=spec.scale,
                    softcap=spec.softcap,
                )
            )
        g_query, g_key, g_value = (torch.cat(part) for part in zip(*parts, strict=True))
        return g_query, g_key, g_value

    each = torch.full((len(g),), g.shape[1])
    nodes = Places(torch.arange(len(g)), torch.arange(len(g) + 1))
    at = Layout.over(nodes, each, g.device)
    g_mid, g_out = to_attention(block, layer, *found, at.index)
    g_heads = spec.output.transpose(g_out)
    return (g_mid + through_attention(block, layer, g_heads, at, at, heads_vjp)).view(g.shape)
