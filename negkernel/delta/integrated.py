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

from negkernel.delta.backward import from_logits, through_attention, through_mlp, through_norm
from negkernel.delta.prefix_tree import Packing, gather
from negkernel.delta.trace import LayerTrace, Trace, Visit, read_out, run_layer
from negkernel.delta.vjp import shared_attention_vjp
from negkernel.families.activations import activate
from negkernel.families.parts import Block, Decoder


def scales_at_once(decoder: Decoder, length: int, memory: int) -> int:
    """How many scales of all layers of one prompt of ``length`` tokens fit in ``memory`` bytes."""
    spec = decoder.blocks[0].attention
    hidden, inner = decoder.blocks[0].mlp.down.shape
    heads = (spec.n_heads + spec.n_kv_heads) * spec.head_dim
    kept = decoder.n_layers * (4 * hidden + 2 * inner + 2 * heads) / 2  # layers above its own
    seen = 4 * length * spec.n_kv_heads * spec.head_dim
    row = (kept + seen + 4 * inner + 2 * decoder.head.shape[0]) * decoder.precision.state.itemsize
    return max(1, int(memory / (decoder.n_layers * row)))


@dataclass(frozen=True)
class _Alive:
    """Rows that have entered below a layer: which they are, what they see, what they computed."""

    row: Tensor
    prompt: Tensor
    packing: Packing
    layer: LayerTrace


@torch.no_grad()
def path_gradients(
    decoder: Decoder,
    base: Trace,
    targets: Tensor,
    scales: Sequence[float],
    *,
    site: str,
) -> Iterator[tuple[int, Tensor]]:
    """Gradients of p(target) in each layer's neurons when these are scaled, averaged over scales.

    Parameters
    ----------
    targets : Tensor [P, K] int64
        Tokens of the traced prompts.
    scales : list of float
        Factors of the layer's neurons at the probed token, all neurons of one layer at once.
    site : str
        A resolved site.

    Yields
    ------
    layer, gradient [P, K, I]
        Mean over ``scales`` of dp(target)/da at the scaled layer, from the last layer down.
    """
    P, K = targets.shape
    L, m = decoder.n_layers, len(scales)
    factor = torch.tensor(scales, dtype=decoder.precision.state)
    # Rows are numbered [P, L, m], so those above any layer are sorted by prompt.
    prompt = torch.arange(P).repeat_interleave(L * m)
    entry = torch.arange(L).repeat_interleave(m).repeat(P)
    x = base.x_final.new_empty(P * L * m, base.x_final.shape[1])
    scaled: list[LayerTrace] = []
    alive: list[_Alive] = []
    for index, block in enumerate(decoder.blocks):
        x = x.to(block.device)
        above = torch.nonzero(entry < index)[:, 0]
        if len(above):
            alive.append(_run(block, base, index, x, above, prompt[above]))
        here = torch.nonzero(entry == index)[:, 0]
        layer, x[here] = _enter(block, base.layers[index], prompt[here], factor.repeat(P), site)
        scaled.append(layer)
    top = read_out(decoder, base.packing, [], x.to(base.x_final.device))
    g, factor = from_logits(decoder, top, targets[prompt])
    g, factor = g.view(len(prompt), K, -1), factor.view(len(prompt), K, 1)
    for index in reversed(range(L)):
        block = decoder.blocks[index]
        g = g.to(block.device)
        here = torch.nonzero(entry == index)[:, 0]
        neurons, _ = _down(block, scaled[index], g[here], site)
        neurons = neurons.view(P * m, K, -1) * factor[here].to(block.device)
        yield index, neurons.view(P, m, K, -1).mean(1)
        if index:
            rows = alive[index - 1]
            g[rows.row] = _below(block, rows, base, g[rows.row], index, site)


def _enter(
    block: Block,
    base: LayerTrace,
    prompt: Tensor,
    factor: Tensor,
    site: str,
) -> tuple[LayerTrace, Tensor]:
    """Rows that enter: their layer's trace with neurons scaled by ``factor``, and its output."""
    spec = block.mlp
    prompt, factor = prompt.to(block.device), factor.to(block.device)[:, None]
    gate = None if base.gate is None else base.gate[prompt]
    up = base.up[prompt]
    if site == "gate" and gate is not None:
        gate = gate * factor
    if site in ("up", "pre"):
        up = up * factor
    hidden = activate(up, spec.activation) if gate is None else activate(gate, spec.activation) * up
    out = spec.down.affine(hidden * factor if site == "post" else hidden)
    mlp_out = mlp_sum = None
    if block.mlp_out is not None:
        mlp_out, out = out, block.mlp_out(out)
    x = torch.add(base.x_mid[prompt], out, alpha=block.residual_scale)
    if block.mlp_sum is not None:
        mlp_sum, x = x, block.mlp_sum(x)
    layer = replace(
        base,
        x_in=base.x_in[prompt],
        x_mid=base.x_mid[prompt],
        gate=gate,
        up=up,
        mlp_out=mlp_out,
        mlp_sum=mlp_sum,
    )
    return layer, x


def _run(
    block: Block,
    base: Trace,
    index: int,
    x: Tensor,
    row: Tensor,
    prompt: Tensor,
) -> _Alive:
    """Take the rows ``row`` of ``x`` through a layer, in place; each is one more node."""
    layer, n_nodes = base.layers[index], len(base.packing.tokens)
    paths = [
        torch.cat([base.packing.paths[p][:-1], torch.tensor([n_nodes + i])])
        for i, p in enumerate(prompt.tolist())
    ]
    device, rotation = x.device, None
    if layer.cos is not None and layer.sin is not None:
        chosen = prompt.to(device)
        rotation = layer.cos[chosen], layer.sin[chosen]
    x[row], found = run_layer(
        block,
        x[row],
        torch.arange(len(row), device=device),
        rotation,
        _visits(base.packing, prompt, n_nodes, block.attention.window),
        False,
        past=(layer.keys, layer.values),
    )
    return _Alive(row, prompt, replace(base.packing, paths=paths), found)


def _visits(packing: Packing, prompt: Tensor, n_nodes: int, window: int | None) -> list[Visit]:
    """Rows of a prompt as queries of one sequence: each sees the prompt's prefix and itself."""
    visits = []
    for p in torch.unique(prompt).tolist():
        rows = torch.nonzero(prompt == p)[:, 0]
        prefix = _prefix(packing, p, window)
        itself = torch.eye(len(rows), dtype=torch.bool)
        mask = torch.cat([torch.ones(len(rows), len(prefix), dtype=torch.bool), itself], dim=1)
        visits.append(Visit(rows[None], torch.cat([prefix, n_nodes + rows])[None], mask))
    return visits


def _prefix(packing: Packing, prompt: int, window: int | None) -> Tensor:
    """Nodes that the last token of a prompt sees beside itself."""
    prefix = packing.paths[prompt][:-1]
    return prefix if window is None else prefix[max(0, len(prefix) + 1 - window) :]


def _down(
    block: Block, layer: LayerTrace, g: Tensor, site: str
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Gradients [r * K, I] in the neurons of a layer from those in its output [r, K, H]."""
    r, K, _ = g.shape
    own = torch.arange(r, device=g.device).repeat_interleave(K)
    g = through_norm(block.mlp_sum, layer.mlp_sum, g.flatten(0, 1), own)
    neurons, g_mlp_in = through_mlp(block, layer, g, own, site)
    return neurons, (g, g_mlp_in, own)


def _below(
    block: Block,
    rows: _Alive,
    base: Trace,
    g: Tensor,
    index: int,
    site: str,
) -> Tensor:
    """Gradient [r, K, H] in a layer's input from that in its output."""
    _, (g_out, g_mlp_in, own) = _down(block, rows.layer, g, site)
    spec, layer = block.attention, rows.layer
    first = len(layer.keys) - len(rows.row)  # of the rows' own nodes

    def heads_vjp(query: Tensor, g_heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = []
        for p in torch.unique(rows.prompt).tolist():
            own = torch.nonzero(rows.prompt == p)[:, 0]
            here, seen = own.to(g_heads.device), _prefix(base.packing, p, spec.window)
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

    seen = replace(base, packing=rows.packing)
    g_in = through_attention(block, layer, seen, index, g_out, g_mlp_in, own, heads_vjp)
    return g_in.view(g.shape)
