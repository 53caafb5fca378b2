"""Compute the base: everything about prompts that shifted rows read beside their differences.

One pass over the packed prompts (:mod:`.prefix_tree`) with the residual stream in the state dtype.
Of each layer it keeps the keys and values of all nodes and, at the positions that can carry a
difference (:mod:`.positions`), the vectors that the difference form needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.delta.positions import Carried, Places, carried
from negkernel.delta.prefix_tree import Packing, Segment, gather, pack
from negkernel.families.activations import activate
from negkernel.families.parts import Attention, Block, Description, Norm
from negkernel.families.resident import resident
from negkernel.families.rotary import Angles, rotate, rotate_back
from negkernel.request.answers import by_prompt, log_prob
from negkernel.sites import Inner


@dataclass(frozen=True)
class LayerTrace:
    """The base of one layer: [C, ...] at the carried positions, [T, ...] over the packed nodes.

    Where prompts carry one position each, queries and ``key_self`` are in its *frame*: rotated back
    by that position's own RoPE, so that rows never need rotating (``<rotate(q), k> ==
    <q, rotate_back(k)>``). Elsewhere they are rotated, and rows' queries and keys are as well.
    """

    x_in: Tensor  # [C, H] residual stream entering the layer
    query: Tensor  # [C, Hq, D] after the head norm
    key_self: Tensor | None  # [C, Hkv, D]; None where ``keys`` are in the same frame
    value_self: Tensor | None  # [C, Hkv, D]; None likewise
    self_scale: Tensor | None  # [C, 1, D] what rotating a key there and back multiplies it by
    query_raw: Tensor | None  # [C, Hq, D] or [C, Hq * D] before the head norm
    key_raw: Tensor | None  # [C, Hkv, D] or [C, Hkv * D] before the head norm
    attended: Tensor  # [C, Hq, D] the heads' outputs
    attention_out: Tensor | None  # [C, H] before the norm that follows the attention
    attention_sum: Tensor | None  # [C, H] before the norm of the attention's residual sum
    x_mid: Tensor  # [C, H] after the attention's residual sum
    inner: Inner  # [C, I] gate and up
    mlp_out: Tensor | None  # [C, H] before the norm that follows the MLP
    mlp_sum: Tensor | None  # [C, H] before the norm of the MLP's residual sum
    cos: Tensor | None  # [C, d]
    sin: Tensor | None  # [C, d]
    keys: Tensor  # [T, Hkv, D] rotated to their own positions
    values: Tensor  # [T, Hkv, D]

    def select(self, first: int, last: int) -> LayerTrace:
        """Restrict what is of carried positions to those ``first:last``."""
        own: dict[str, Any] = {
            each.name: x[first:last]
            for each in fields(self)
            if isinstance(x := getattr(self, each.name), Tensor)
            and each.name not in ("keys", "values")
        }
        return replace(self, **own, inner=self.inner.at(slice(first, last)))


@dataclass(frozen=True)
class HeadTrace:
    """The base between the last layer and the log-probs, at the Q positions that are read."""

    x_final: Tensor  # [Q, H] before the final norm
    up: Tensor | None  # [Q, H] before the head's nonlinearity
    norm_in: Tensor | None  # [Q, H] before the head's norm
    logits: Tensor  # [Q, V] the head's output, before scale and soft-cap
    logprob: Tensor  # [Q, V]

    def select(self, first: int, last: int) -> HeadTrace:
        """Restrict to the positions ``first:last`` of those that are read."""
        own: dict[str, Any] = {
            each.name: None if (x := getattr(self, each.name)) is None else x[first:last]
            for each in fields(self)
        }
        return HeadTrace(**own)


@dataclass(frozen=True)
class Sight:
    """What some positions of a prompt see: ``nodes`` [S], of which the last ``changed`` may change.

    ``mask`` [Q, S] is True where a query sees a key; None where each sees all.
    """

    nodes: Tensor
    changed: int
    mask: Tensor | None


# Keys [T', Hkv, D] and values of nodes that do not change, those of prompt p from start[p] on.
Prefix = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Trace:
    """Base computation of a group of prompts."""

    packing: Packing
    carried: Carried
    layers: list[LayerTrace]
    head: HeadTrace
    causal: bool = True
    first: int = 0  # which prompt of the whole trace is this one's first
    # Of each layer the prefix that was asked for last: (window, first, prompts) and the answer.
    _prefixes: dict[int, tuple[tuple[int | None, int, int], Prefix]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return len(self.packing.paths)

    @property
    def logprob(self) -> Tensor:
        """Base log-probs [Q, V]."""
        return self.head.logprob

    def read_off(self, ids: Tensor) -> Tensor:
        """Base log-probs [P, C] of columns ``ids`` [Q, C], see :mod:`negkernel.request.answers`."""
        found = log_prob(self.logprob, ids.to(self.logprob.device))
        return by_prompt(found, self.carried.read.start)

    def lines(self, first: int, last: int) -> slice:
        """Which of the Q positions that are read are those of prompts ``first:last``."""
        start = self.carried.read.start
        return slice(int(start[first]), int(start[last]))

    @property
    def nodes(self) -> Tensor:
        """Nodes of the carried positions [C]."""
        return torch.cat(
            [
                path[self.carried.position[self.carried.all.of(p)]]
                for p, path in enumerate(self.packing.paths)
            ]
        )

    def select(self, first: int, last: int) -> Trace:
        """Restrict to prompts ``first:last``; what is remembered of prefixes is shared."""
        if (first, last) == (0, self.n_prompts):
            return self
        lead, end = (int(self.carried.all.start[p]) for p in (first, last))
        read = self.lines(first, last)
        part = Trace(
            packing=replace(self.packing, paths=self.packing.paths[first:last]),
            carried=self.carried.select(first, last),
            layers=[layer.select(lead, end) for layer in self.layers],
            head=self.head.select(read.start, read.stop),
            causal=self.causal,
            first=self.first + first,
        )
        object.__setattr__(part, "_prefixes", self._prefixes)
        return part

    def sight(self, prompt: int, sources: Places, sinks: Places, window: int | None) -> Sight:
        """Find what the positions ``sinks`` of a prompt see when ``sources`` change."""
        path, position = self.packing.paths[prompt], self.carried.position
        changed = position[sources.of(prompt)]
        distance = position[sinks.of(prompt)][:, None] - torch.arange(len(path))
        distance = distance if self.causal else distance.abs()
        sees = (distance >= 0) & (distance < (window or len(path)))
        rest = sees.any(0)
        rest[changed] = False
        order = torch.cat([torch.nonzero(rest)[:, 0], changed])
        mask = sees[:, order]
        return Sight(path[order], len(changed), None if bool(mask.all()) else mask)

    def seen(self, window: int | None) -> list[Tensor]:
        """Nodes that each prompt's one read position attends to, itself last."""
        read = self.carried.read
        return [self.sight(p, read, read, window).nodes for p in range(self.n_prompts)]

    def prefix(self, layer: int, window: int | None) -> Prefix:
        """Pack the keys and values that the one read position of each sees, but its own.

        Batches of the same prompts, as those of one sweep often are, get the same tensors; of
        prompts that share a beginning, whose copies may be far more than their base, one layer's.

        Returns
        -------
        keys [T', Hkv, D] in the frame of the layer's queries, values [T', Hkv, D], start [P + 1]
        """
        asked = window, self.first, self.n_prompts
        if layer not in self._prefixes or self._prefixes[layer][0] != asked:
            if self.packing.shares:
                self._prefixes.clear()
            self._prefixes.pop(layer, None)  # two at a time would need more memory than one
            self._prefixes[layer] = asked, self._packed(layer, window)
        return self._prefixes[layer][1]

    def _packed(self, layer: int, window: int | None) -> Prefix:
        base = self.layers[layer]
        device = base.keys.device
        paths = [path[:-1] for path in self.seen(window)]
        lengths = torch.tensor([len(path) for path in paths])
        start = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        nodes = torch.cat(paths)
        keys, values = gather(base.keys, nodes), gather(base.values, nodes)
        if self.carried.single and base.cos is not None and base.sin is not None:
            prompt = torch.repeat_interleave(torch.arange(self.n_prompts), lengths).to(device)
            keys = rotate_back(keys, base.cos[prompt], base.sin[prompt])
        return keys, values, start.to(device)


def normed(norm: Norm | None, x: Tensor) -> Tensor:
    """Return ``norm(x)``, or ``x`` where there is no norm."""
    return x if norm is None else norm(x)


@torch.no_grad()
def trace(
    model: Description,
    prompts: Sequence[Sequence[int]],
    read: Sequence[Sequence[int]] | None = None,
    shifted: Sequence[Sequence[int]] | None = None,
) -> Trace:
    """Run the base computation of ``prompts`` (token lists, none empty).

    Parameters
    ----------
    read : list of list of int, optional
        Positions of each prompt where its answer is read, ascending; the last token by default.
    shifted : list of list of int, optional
        Positions of each prompt where rows are shifted, ascending; where it is read first by
        default.
    """
    read = [[len(prompt) - 1] for prompt in prompts] if read is None else read
    shifted = [at[:1] for at in read] if shifted is None else shifted
    packing = pack(prompts, model.rotary_length if model.causal else None)
    at = carried([len(prompt) for prompt in prompts], read, shifted, model.causal)
    runs = _runs(packing, at)
    kept = torch.cat([run.path[-(run.stop - run.start) :] for run in runs])
    device = model.blocks[0].device
    tokens, positions = packing.tokens.to(device), packing.positions.to(device)
    with resident(model.embed_loaders):
        x = model.embed(tokens, positions)
        rotations = {rotary: _rotation(rotary, packing, positions) for rotary in model.rotaries}
    visits: dict[tuple[int | None, bool], list[Visit]] = {}
    layers = []
    for block in model.blocks:
        # Of the last layer's outputs only those of carried positions are ever read.
        top = block is model.blocks[-1]
        window = block.attention.window
        if (window, top) not in visits:
            queries = runs if top else packing.segments
            visits[window, top] = visits_of(queries, window, model.causal)
        pass_ = Pass(kept, visits[window, top], top, at.single)
        x = x.to(block.device)
        rotary = block.attention.rotary
        if rotary is not None:
            cos, sin = rotations[rotary]
            rotations[rotary] = cos.to(x.device), sin.to(x.device)
        with resident(block.loaders):
            x, layer = run_layer(block, x, None if rotary is None else rotations[rotary], pass_)
        layers.append(layer)
    with resident(model.head_loaders):
        head = read_out(model, x[at.read.index.to(x.device)])
    return Trace(packing, at, layers, head, model.causal)


def _runs(packing: Packing, at: Carried) -> list[Segment]:
    """Return the carried positions as queries, numbered as such, and the nodes that they see."""
    runs = []
    for p, path in enumerate(packing.paths):
        index = at.all.of(p)
        stop = int(at.position[index[-1]]) + 1
        runs.append(Segment(int(index[0]), int(index[-1]) + 1, path[:stop]))
    return runs


def read_out(model: Description, x_final: Tensor) -> HeadTrace:
    """Take the last layer's output [Q, H] to log-probs."""
    n, up, norm_in = normed(model.final_norm, x_final), None, None
    if model.projection is not None:
        n = model.projection.affine(n)
    if model.activation is not None:
        up, n = n, activate(n, model.activation)
    if model.head_norm is not None:
        norm_in, n = n, model.head_norm(n)
    logits = model.head.affine(n)
    return HeadTrace(x_final, up, norm_in, logits, base_logprob(model, logits))


def base_logprob(model: Description, logits: Tensor) -> Tensor:
    """Log-probs [P, V] of the head's output, prompt by prompt, normalised in float64.

    A float32 sum over the vocabulary is off by 1e-5. Changes of log p would be off by that share
    of what moves all logits alike, which is often more than what they are themselves.
    """
    scores = (cap(own, model.logit_scale, model.softcap) for own in logits)
    return torch.stack([F.log_softmax(own.double(), dim=-1).to(own) for own in scores])


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
    """``cos^2 + sin^2`` [P, 1, D] of the kept nodes, None where it is 1 to the last bit.

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


@dataclass(frozen=True)
class Visit:
    """Segments of equal shape, attended in one call: queries [G, n], keys [G, m], mask [n, m].

    Without a mask every query sees every key, or is ``causal``.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor | None
    causal: bool = False


@dataclass(frozen=True)
class Pass:
    """What a layer's base is computed over.

    Attributes
    ----------
    kept : Tensor [C] int64
        Nodes whose vectors are kept; on the CPU.
    visits : list of Visit
        Who attends to whom.
    top : bool
        Only the kept nodes' output is wanted.
    single : bool
        Keep queries and keys in the frame of their own position.
    past : tuple of Tensor, optional
        Keys and values, rotated, of nodes that come before those of this pass.
    """

    kept: Tensor
    visits: list[Visit]
    top: bool
    single: bool
    past: tuple[Tensor, Tensor] | None = None


def run_layer(
    block: Block, x: Tensor, rotation: tuple[Tensor, Tensor] | None, over: Pass
) -> tuple[Tensor, LayerTrace]:
    """Output [T, H] of one layer, [C, H] of the kept nodes at the top, and its trace."""
    spec = block.attention
    # Which nodes to keep; None where these are all there are.
    whole = len(over.kept) == len(x) and bool((over.kept.diff() == 1).all())
    node = None if whole else over.kept.to(x.device)
    kept: dict[str, Any] = {}

    def keep(x: Tensor) -> Tensor:
        return x if node is None else x[node]

    n = normed(block.attention_in, x)
    key_raw = spec.key.affine(n).view(len(n), spec.n_kv_heads, -1)
    value = spec.value.affine(n).view(len(n), spec.n_kv_heads, -1)
    key, kept["key_raw"] = _head_norm(spec, spec.key_norm, key_raw, keep)
    own, cos, sin = keep(key), None, None
    if rotation is not None:
        cos, sin = map(keep, rotation)
        key = rotate(key, *rotation)
        if over.single:
            own = rotate_back(keep(key), cos, sin)
            kept["self_scale"] = _self_scale(cos, sin, own)
    kept |= {"key_self": own, "value_self": keep(value)} if over.single else {}
    if over.top:  # keys and values are of all nodes, all else is of those that are kept
        x, n, rotation = keep(x), keep(n), None if cos is None or sin is None else (cos, sin)
        node = None
    raw = spec.query.affine(n).view(len(n), spec.n_heads, -1)
    own, kept["query_raw"] = _head_norm(spec, spec.query_norm, raw, keep)
    query = own if rotation is None else rotate(own, *rotation)
    kept |= {"x_in": keep(x), "query": keep(own if over.single else query)}
    keys, values = key, value
    if over.past is not None:
        keys, values = torch.cat([over.past[0], key]), torch.cat([over.past[1], value])
    heads = _attend(spec, query, keys, values, over.visits)
    kept["attended"] = keep(heads)
    out = spec.output.affine(heads.flatten(1))
    kept["attention_out"] = None if block.attention_out is None else keep(out)
    attended = torch.add(x, normed(block.attention_out, out), alpha=block.residual_scale)
    kept["attention_sum"] = None if block.attention_sum is None else keep(attended)
    attended = normed(block.attention_sum, attended)
    inner = inner_of(block, normed(block.mlp_in, x if block.parallel else attended))
    kept["inner"] = inner if node is None else inner.at(node)
    kept["x_mid"] = keep(attended)
    x, after = finish(block, attended, block.mlp.down.affine(inner.hidden))
    kept |= {name: None if y is None else keep(y) for name, y in after.items()}
    kept = dict.fromkeys(("self_scale", "key_self", "value_self")) | kept
    return x, LayerTrace(**kept, cos=cos, sin=sin, keys=keys, values=values)


def inner_of(block: Block, m: Tensor) -> Inner:
    """Gate and up [T, I] from the MLP's normed input [T, H]."""
    gate = None if block.mlp.gate is None else block.mlp.gate.affine(m)
    return Inner(gate, block.mlp.up.affine(m), block.mlp.activation)


def finish(block: Block, attended: Tensor, out: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Add the MLP's output to the stream, and what the norms on its way read."""
    mlp_out = None if block.mlp_out is None else out
    x = torch.add(attended, normed(block.mlp_out, out), alpha=block.residual_scale)
    mlp_sum = None if block.mlp_sum is None else x
    return normed(block.mlp_sum, x), {"mlp_out": mlp_out, "mlp_sum": mlp_sum}


def _head_norm(
    spec: Attention, norm: Norm | None, heads: Tensor, keep: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Norm heads [T, n, D]; what of the norm's input is kept, None where there is no norm."""
    if norm is None:
        return heads, None
    raw = spec.for_norm(heads)
    return norm(raw).view(heads.shape), keep(raw)


def visits_of(segments: list[Segment], window: int | None, causal: bool) -> list[Visit]:
    """Group queries that can be attended in one call: the last ones of the nodes they see."""
    groups: dict[tuple[int, int], list[Segment]] = defaultdict(list)
    for segment in segments:
        groups[segment.stop - segment.start, len(segment.path)].append(segment)
    visits = []
    for (n, m), group in groups.items():
        mask = None
        distance = torch.arange(m - n, m)[:, None] - torch.arange(m)[None, :]
        if not causal:
            mask = None if window is None or window >= m else distance.abs() < window
        elif n != m or (window is not None and m > window):
            mask = (distance >= 0) & (distance < (window or m + 1))
        queries = torch.stack([torch.arange(s.start, s.stop) for s in group])
        visits.append(Visit(queries, torch.stack([s.path for s in group]), mask, causal))
    return visits


def _attend(
    attention: Attention, query: Tensor, key: Tensor, value: Tensor, visits: list[Visit]
) -> Tensor:
    """Attention of every query over the nodes it sees: [len(query), Hq, D]."""
    out = torch.empty_like(query)
    device = query.device
    for visit in visits:
        # [G, n, heads, D] -> [G, heads, n, D]
        q = gather(query, visit.queries).transpose(1, 2)
        k, v = (gather(t, visit.keys).transpose(1, 2) for t in (key, value))
        out[visit.queries.to(device)] = _attend_group(attention, q, k, v, visit).transpose(1, 2)
    return out


def _attend_group(attention: Attention, q: Tensor, k: Tensor, v: Tensor, visit: Visit) -> Tensor:
    mask = None if visit.mask is None else visit.mask.to(q.device)
    causal = visit.causal and mask is None
    if attention.softcap is None:
        grouped = attention.n_heads != attention.n_kv_heads
        return F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=causal, scale=attention.scale, enable_gqa=grouped
        )
    repeat = attention.n_heads // attention.n_kv_heads
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    scores = cap(q @ k.transpose(-1, -2), attention.scale, attention.softcap)
    if causal:
        n = q.shape[-2]
        mask = torch.ones(n, n, dtype=torch.bool, device=q.device).tril()
    scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v
