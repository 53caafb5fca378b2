"""Prompt -> prefix KV and base trace: everything a shift at the last token leaves unchanged.

One pass over the packed prompts (:mod:`.prefix_tree`) with the residual stream in the state
dtype. Of each layer it keeps the keys and values of all nodes and, for the last token of each
prompt, the vectors that the difference form needs beside its differences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.delta.prefix_tree import Packing, Segment, gather, pack
from negkernel.families.activations import activate
from negkernel.families.parts import Attention, Block, Decoder
from negkernel.families.rotary import Angles, rotate, rotate_back


@dataclass(frozen=True)
class LayerTrace:
    """The base of one layer: [P, ...] at the last tokens, [T, ...] over the packed nodes.

    Queries and ``key_self`` are in the *probed frame*: rotated back by the last token's own RoPE,
    so that rows never need rotating (``<rotate(q), k> == <q, rotate_back(k)>``).
    """

    x_in: Tensor  # [P, H] residual stream entering the layer
    query: Tensor  # [P, Hq, D] after the head norm, not rotated
    key_self: Tensor  # [P, Hkv, D] probed frame
    value_self: Tensor  # [P, Hkv, D]
    self_scale: Tensor | None  # [P, 1, D] what rotating a key there and back multiplies it by
    query_raw: Tensor | None  # [P, Hq, D] or [P, Hq * D] before the head norm
    key_raw: Tensor | None  # [P, Hkv, D] or [P, Hkv * D] before the head norm
    attention_out: Tensor | None  # [P, H] before the norm that follows the attention
    attention_sum: Tensor | None  # [P, H] before the norm of the attention's residual sum
    x_mid: Tensor  # [P, H] after the attention's residual sum
    gate: Tensor | None  # [P, I]
    up: Tensor  # [P, I]
    mlp_out: Tensor | None  # [P, H] before the norm that follows the MLP
    mlp_sum: Tensor | None  # [P, H] before the norm of the MLP's residual sum
    cos: Tensor | None  # [P, d] of the last tokens
    sin: Tensor | None  # [P, d]
    keys: Tensor  # [T, Hkv, D] rotated to their own positions
    values: Tensor  # [T, Hkv, D]


Prefix = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Trace:
    """Base computation of a group of prompts."""

    packing: Packing
    layers: list[LayerTrace]
    x_final: Tensor  # [P, H] before the final norm
    logits: Tensor  # [P, V] the head's output, before scale and soft-cap
    logprob: Tensor  # [P, V]
    # Of each layer the prefix that was asked for last: (window, first, last) and the answer.
    _prefixes: dict[int, tuple[tuple[int | None, int, int], Prefix]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return len(self.packing.paths)

    def seen(self, window: int | None) -> list[Tensor]:
        """Nodes that each prompt's last token attends to, itself last."""
        paths = self.packing.paths
        return paths if window is None else [path[-window:] for path in paths]

    def prefix(self, layer: int, window: int | None, first: int, last: int) -> Prefix:
        """Pack the prefix keys and values that prompts ``first:last`` see at ``layer``.

        Batches of the same prompts, as those of one sweep often are, get the same tensors.

        Returns
        -------
        keys [T', Hkv, D] in the probed frame, values [T', Hkv, D], start [last - first + 1]
        """
        asked = window, first, last
        if layer not in self._prefixes or self._prefixes[layer][0] != asked:
            self._prefixes.pop(layer, None)  # two at a time would need more memory than one
            self._prefixes[layer] = asked, self._packed(layer, window, first, last)
        return self._prefixes[layer][1]

    def _packed(self, layer: int, window: int | None, first: int, last: int) -> Prefix:
        base = self.layers[layer]
        device = base.keys.device
        paths = [path[:-1] for path in self.seen(window)[first:last]]
        lengths = torch.tensor([len(path) for path in paths])
        start = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        nodes = torch.cat(paths)
        keys, values = gather(base.keys, nodes), gather(base.values, nodes)
        if base.cos is not None and base.sin is not None:
            prompt = torch.repeat_interleave(torch.arange(first, last), lengths).to(device)
            keys = rotate_back(keys, base.cos[prompt], base.sin[prompt])
        return keys, values, start.to(device)


@torch.no_grad()
def trace(decoder: Decoder, prompts: Sequence[Sequence[int]]) -> Trace:
    """Run the base computation of ``prompts`` (token lists, none empty)."""
    packing = pack(prompts, decoder.rotary_length)
    device = decoder.blocks[0].device
    tokens, positions = packing.tokens.to(device), packing.positions.to(device)
    x = decoder.embed(tokens, positions)
    rotations = {rotary: _rotation(rotary, packing, positions) for rotary in decoder.rotaries}
    last = packing.last
    visits: dict[tuple[int | None, bool], list[Visit]] = {}
    layers = []
    for block in decoder.blocks:
        device = block.device
        # Of the last layer's outputs only those of the last tokens are ever read.
        top = block is decoder.blocks[-1]
        x, last = x.to(device), last.to(device)
        rotary, window = block.attention.rotary, block.attention.window
        rotation = None
        if rotary is not None:
            cos, sin = rotations[rotary]
            rotation = rotations[rotary] = cos.to(device), sin.to(device)
        if (window, top) not in visits:
            queries = _last_tokens(packing) if top else packing.segments
            visits[window, top] = visits_of(queries, window)
        x, layer = run_layer(block, x, last, rotation, visits[window, top], top)
        layers.append(layer)
    return read_out(decoder, packing, layers, x)


def read_out(
    decoder: Decoder,
    packing: Packing,
    layers: list[LayerTrace],
    x_final: Tensor,
) -> Trace:
    """Complete a trace with the log-probs of the last layer's output [P, H]."""
    n = x_final if decoder.final_norm is None else decoder.final_norm(x_final)
    n = n if decoder.projection is None else decoder.projection.affine(n)
    logits = decoder.head.affine(n)
    return Trace(
        packing=packing,
        layers=layers,
        x_final=x_final,
        logits=logits,
        logprob=F.log_softmax(cap(logits, decoder.logit_scale, decoder.softcap), dim=-1),
    )


def cap(scores: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Scale scores or logits and soft-cap them: ``softcap * tanh(scale * scores / softcap)``."""
    scores = scores if scale == 1.0 else scores * scale
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def _rotation(rotary: Angles, packing: Packing, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cos and sin [T, d] of all nodes, each with the frequencies its prompt's length asks for."""
    lengths = packing.length.tolist()
    by_key = {rotary.length_key(n): n for n in lengths}
    if len(by_key) == 1:
        return rotary(positions, max(lengths))
    keys = torch.tensor([rotary.length_key(n) for n in lengths], device=positions.device)
    order = torch.argsort(keys, stable=True)
    parts = [rotary(positions[keys == key], by_key[key]) for key in sorted(by_key)]
    inverse = torch.argsort(order)
    return torch.cat([c for c, _ in parts])[inverse], torch.cat([s for _, s in parts])[inverse]


def _self_scale(cos: Tensor, sin: Tensor, like: Tensor) -> Tensor | None:
    """``cos^2 + sin^2`` [P, 1, D] of the last tokens, None where it is 1 to the last bit.

    What rotating a key [P, Hkv, D] ``like`` this and rotating it back multiplies it by: RoPE
    scaling (YaRN, longrope) makes it differ from 1, and so does the float32 rounding of cos and
    sin in a float64 model. Dimensions that RoPE leaves alone have 1.
    """
    square = cos.to(like.dtype).square() + sin.to(like.dtype).square()
    rounding = 4 * torch.finfo(torch.float32).eps
    if like.dtype == torch.float32 and (square - 1).abs().max() <= rounding:
        return None
    scale = like.new_ones(like.shape[0], 1, like.shape[-1])
    scale[:, 0, : square.shape[-1]] = square
    return scale


def run_layer(
    block: Block,
    x: Tensor,
    last: Tensor,
    rotation: tuple[Tensor, Tensor] | None,
    visits: list[Visit],
    top: bool,
    past: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, LayerTrace]:
    """Output [T, H] of one layer and its trace; of the last tokens alone, [P, H], if ``top``.

    ``past`` are keys and values, rotated, of nodes that come before those of ``x``.
    """
    attention, mlp = block.attention, block.mlp
    n = x if block.attention_in is None else block.attention_in(x)
    key_raw = attention.key.affine(n).view(len(n), attention.n_kv_heads, -1)
    value = attention.value.affine(n).view(len(n), attention.n_kv_heads, -1)
    # Keys and values are of all nodes; from here on the others may be of the last tokens only.
    node = last
    if top:
        x, n, last = x[node], n[node], torch.arange(len(node), device=node.device)
    x_in = x[last]
    query_raw = attention.query.affine(n).view(len(n), attention.n_heads, -1)
    query, key = query_raw, key_raw
    if attention.query_norm is not None:
        query_raw = attention.for_norm(query_raw)
        query = attention.query_norm(query_raw).view(query.shape)
    if attention.key_norm is not None:
        key_raw = attention.for_norm(key_raw)
        key = attention.key_norm(key_raw).view(key.shape)
    query_last, key_last = query[last], key[node]
    cos_last = sin_last = self_scale = None
    if rotation is not None:
        cos, sin = rotation
        cos_last, sin_last = cos[node], sin[node]
        key = rotate(key, cos, sin)
        query = rotate(query, cos_last, sin_last) if top else rotate(query, cos, sin)
        key_last = rotate_back(key[node], cos_last, sin_last)
        self_scale = _self_scale(cos_last, sin_last, key_last)
    keys, values = key, value
    if past is not None:
        keys, values = torch.cat([past[0], key]), torch.cat([past[1], value])
    heads = _attend(attention, query, keys, values, visits)
    out = attention.output.affine(heads.flatten(1))
    attention_out = None
    if block.attention_out is not None:
        attention_out = out[last]
        out = block.attention_out(out)
    x_attended = torch.add(x, out, alpha=block.residual_scale)
    attention_sum = None
    if block.attention_sum is not None:
        attention_sum = x_attended[last]
        x_attended = block.attention_sum(x_attended)
    m = x if block.parallel else x_attended
    m = m if block.mlp_in is None else block.mlp_in(m)
    up = mlp.up.affine(m)
    gate = None if mlp.gate is None else mlp.gate.affine(m)
    up_last, gate_last = up[last], None if gate is None else gate[last]
    hidden = activate(up if gate is None else gate, mlp.activation)
    hidden = hidden if gate is None else hidden.mul_(up)
    out = mlp.down.affine(hidden)
    mlp_out = None
    if block.mlp_out is not None:
        mlp_out = out[last]
        out = block.mlp_out(out)
    x_out = torch.add(x_attended, out, alpha=block.residual_scale)
    mlp_sum = None
    if block.mlp_sum is not None:
        mlp_sum = x_out[last]
        x_out = block.mlp_sum(x_out)
    layer = LayerTrace(
        x_in=x_in,
        query=query_last,
        key_self=key_last,
        value_self=value[node],
        self_scale=self_scale,
        query_raw=query_raw[last] if attention.query_norm is not None else None,
        key_raw=key_raw[node] if attention.key_norm is not None else None,
        attention_out=attention_out,
        attention_sum=attention_sum,
        x_mid=x_attended[last],
        gate=gate_last,
        up=up_last,
        mlp_out=mlp_out,
        mlp_sum=mlp_sum,
        cos=cos_last,
        sin=sin_last,
        keys=keys,
        values=values,
    )
    return x_out, layer


def _last_tokens(packing: Packing) -> list[Segment]:
    """Last tokens as queries of their own, numbered by prompt."""
    return [Segment(p, p + 1, path) for p, path in enumerate(packing.paths)]


@dataclass(frozen=True)
class Visit:
    """Segments of equal shape, attended in one call: queries [G, n], keys [G, m], mask [n, m]."""

    queries: Tensor
    keys: Tensor
    mask: Tensor | None


def visits_of(segments: list[Segment], window: int | None) -> list[Visit]:
    """Group queries that can be attended in one call."""
    groups: dict[tuple[int, int], list[Segment]] = defaultdict(list)
    for segment in segments:
        groups[segment.stop - segment.start, len(segment.path)].append(segment)
    visits = []
    for (n, m), group in groups.items():
        mask = None
        if n != m or (window is not None and m > window):
            distance = torch.arange(m - n, m)[:, None] - torch.arange(m)[None, :]
            mask = (distance >= 0) & (distance < (window or m + 1))
        queries = torch.stack([torch.arange(s.start, s.stop) for s in group])
        visits.append(Visit(queries, torch.stack([s.path for s in group]), mask))
    return visits


def _attend(
    attention: Attention, query: Tensor, key: Tensor, value: Tensor, visits: list[Visit]
) -> Tensor:
    """Causal attention of every query over the nodes it sees: [len(query), Hq, D]."""
    out = torch.empty_like(query)
    device = query.device
    for visit in visits:
        # [G, n, heads, D] -> [G, heads, n, D]
        q = gather(query, visit.queries).transpose(1, 2)
        k, v = (gather(t, visit.keys).transpose(1, 2) for t in (key, value))
        mask = None if visit.mask is None else visit.mask.to(device)
        heads = _attend_group(attention, q, k, v, mask).transpose(1, 2)
        out[visit.queries.to(device)] = heads
    return out


def _attend_group(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> Tensor:
    if attention.softcap is None:
        grouped = attention.n_heads != attention.n_kv_heads
        return F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=mask is None, scale=attention.scale, enable_gqa=grouped
        )
    repeat = attention.n_heads // attention.n_kv_heads
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    scores = cap(q @ k.transpose(-1, -2), attention.scale, attention.softcap)
    if mask is None:
        n = q.shape[-2]
        mask = torch.ones(n, n, dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
