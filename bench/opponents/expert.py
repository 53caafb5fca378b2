"""The expert recipe: what somebody who knows transformers well writes for Llama in an afternoon.

One forward of the prompt keeps the prefix keys and values and, for each probed layer, what its MLP
adds to the last token. A row is then a single token that runs through the layers above its neuron
only: every projection is one matrix product over a chunk of rows, the prefix is never copied, and
the LM head sees nothing but rows. Attention is split, prefix by flash attention with its
log-sum-exp and the row's own key merged in afterwards, which is faster than the masked sdpa that
comes to mind first (:mod:`bench.opponents.expert_masked`). Plain PyTorch operations, no compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from negkernel.testing.timing import interleave

# Rows of a chunk through the layers and through the head; `calibrated` picks among them.
CHUNKS = ((256, 256), (512, 512), (1024, 256), (1024, 1024))

AnyExpert = TypeVar("AnyExpert", bound="Expert")


@dataclass(frozen=True)
class Base:
    """The prompt's own forward: KV cache, RoPE of the last token, and the last token's states.

    ``residual[layer]`` [H] leaves the layer; ``gate[layer]`` and ``up[layer]`` are [I].
    """

    cache: DynamicCache
    rope: tuple[Tensor, Tensor]
    residual: dict[int, Tensor]
    gate: dict[int, Tensor]
    up: dict[int, Tensor]
    logprob: Tensor  # [V]


class Expert:
    """The recipe with its two chunk sizes: rows through the layers, and through the LM head."""

    def __init__(self, model: Any, rows: int, head_rows: int):
        self.model = model
        self.rows = rows
        self.head_rows = head_rows

    @torch.no_grad()
    def sweep(self, tokens: list[int], target: int, neurons: Tensor, shifts: Tensor) -> Tensor:
        """Differences of log p(target) [N, J] in nats, axis "magnitude", site "up".

        ``neurons`` [N, 2] of (layer, index), ``shifts`` [J]; two tokens or more.
        """
        layers = neurons[:, 0].unique().tolist()
        base = self._prefill(tokens, layers)
        out = base.logprob.new_empty(len(neurons), len(shifts))
        for layer in layers:
            chosen = torch.nonzero(neurons[:, 0] == layer)[:, 0]
            index = neurons[chosen, 1]
            step = F.silu(base.gate[layer][index]) * base.up[layer][index].sign()
            columns = self.model.model.layers[layer].mlp.down_proj.weight[:, index].t()
            direction = step[:, None] * columns
            amount = shifts.to(out).repeat(len(chosen))
            which = torch.arange(len(chosen)).repeat_interleave(len(shifts))
            parts = [
                self._rows(base, layer, base.residual[layer] + a[:, None] * direction[w], target)
                for a, w in zip(amount.split(self.rows), which.split(self.rows), strict=True)
            ]
            out[chosen] = torch.cat(parts).view(len(chosen), -1) - base.logprob[target]
        return out

    def _prefill(self, tokens: list[int], layers: list[int]) -> Base:
        body = self.model.model
        residual: dict[int, Tensor] = {}
        gate: dict[int, Tensor] = {}
        up: dict[int, Tensor] = {}

        def keep(into: dict[int, Tensor], layer: int) -> Any:
            def hook(module: Any, args: Any, output: Tensor) -> None:
                into[layer] = output[0, -1]

            return hook

        handles = []
        for layer in layers:
            block = body.layers[layer]
            for module, into in (
                (block, residual),
                (block.mlp.gate_proj, gate),
                (block.mlp.up_proj, up),
            ):
                handles.append(module.register_forward_hook(keep(into, layer)))
        cache = DynamicCache()
        try:
            logits = self.model(
                torch.tensor([tokens]), past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        position = torch.tensor([[len(tokens) - 1]])
        rope = body.rotary_emb(logits, position)
        return Base(cache, rope, residual, gate, up, torch.log_softmax(logits, dim=-1))

    def _rows(self, base: Base, layer: int, x: Tensor, target: int) -> Tensor:
        """Run rows ``x`` [R, H] from above ``layer`` to log p(target) [R]."""
        for index in range(layer + 1, len(self.model.model.layers)):
            block = self.model.model.layers[index]
            x = x + self._attend(base, index, block.self_attn, block.input_layernorm(x))
            x = x + block.mlp(block.post_attention_layernorm(x))
        x = self.model.model.norm(x)
        return torch.cat([self._read(part, target) for part in x.split(self.head_rows)])

    def _read(self, x: Tensor, target: int) -> Tensor:
        logits = self.model.lm_head(x)
        out: Tensor = logits[:, target] - logits.logsumexp(dim=-1)
        return out

    def _attend(self, base: Base, index: int, attention: Any, x: Tensor) -> Tensor:
        """Attention of rows ``x`` [R, H] over the prefix and, each, itself."""
        D = attention.head_dim
        # Heads first, as the cache has them: [1, heads, R, D].
        q = attention.q_proj(x).view(1, len(x), -1, D).transpose(1, 2)
        k = attention.k_proj(x).view(1, len(x), -1, D).transpose(1, 2)
        v = attention.v_proj(x).view(1, len(x), -1, D).transpose(1, 2)
        q, k = apply_rotary_pos_emb(q, k, *base.rope)
        cached = base.cache.layers[index]
        prefix_k, prefix_v = cached.keys[:, :, :-1], cached.values[:, :, :-1]
        repeat = attention.num_key_value_groups
        if repeat > 1:
            k, v, prefix_k, prefix_v = (
                t.repeat_interleave(repeat, dim=1) for t in (k, v, prefix_k, prefix_v)
            )
        heads = self._mix(q, k, v, prefix_k, prefix_v, attention.scaling)
        projected: Tensor = attention.o_proj(heads.transpose(1, 2).reshape(len(x), -1))
        return projected

    def _mix(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        prefix_k: Tensor,
        prefix_v: Tensor,
        scale: float,
    ) -> Tensor:
        """Softmax over prefix and self of every row: [1, heads, R, D]."""
        out, lse = _attend_prefix(q, prefix_k, prefix_v, scale)
        own = (q * k).sum(-1) * scale
        # The self part weighs exp(own) / (exp(lse) + exp(own)).
        weight = torch.sigmoid(own - lse)[..., None]
        return torch.lerp(out, v, weight)


def _attend_prefix(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention [1, heads, R, D] of every row over the whole prefix, and log-sum-exp of scores."""
    if q.device.type == "cpu":
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, False, scale=scale
        )
        return out, lse
    scores = (q @ k.transpose(-1, -2)).float() * scale
    lse = scores.logsumexp(dim=-1)
    return (scores - lse[..., None]).exp().to(v.dtype) @ v, lse


def calibrated(
    model: Any, tokens: list[int], target: int, neurons: Tensor, shifts: Tensor
) -> Expert:
    """Return the expert with the chunk sizes that are fastest on about 1,024 rows of this sweep."""
    part = neurons[: -(-max(rows for rows, _ in CHUNKS) // len(shifts))]
    experts = [Expert(model, *chunks) for chunks in CHUNKS]
    return fastest(experts, tokens, target, part, shifts)


def fastest(
    experts: Sequence[AnyExpert], tokens: list[int], target: int, neurons: Tensor, shifts: Tensor
) -> AnyExpert:
    """Return the expert that is quickest at this sweep."""
    runs = {
        str(i): (lambda _, one=one: one.sweep(tokens, target, neurons, shifts))
        for i, one in enumerate(experts)
    }
    times = interleave(runs, range(3))
    # The first round warms up; the least of the others is the machine at its quietest.
    return experts[int(min(times, key=lambda name: min(times[name].seconds[1:])))]
