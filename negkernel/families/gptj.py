"""GPT-J: attention and MLP in parallel behind one LayerNorm, RoPE that turns neighbouring pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negkernel.families.activations import activation_name
from negkernel.families.llama import embedding
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register


@register("gptj")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``GPTJForCausalLM``."""
    config, body = model.config, model.transformer
    rotary = _Angles(body.h[0].attn)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.h),
        embed=embedding(body.wte, precision),
        final_norm=layer_norm(body.ln_f),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: _Angles) -> Block:
    module, n_heads = layer.attn, config.num_attention_heads
    halves = _halves(n_heads, module.head_dim, rotary.width)
    return Block(
        attention=Attention(
            query=Projection(module.q_proj, halves),
            key=Projection(module.k_proj, halves),
            value=Projection(module.v_proj),
            output=Projection(module.out_proj),
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=module.head_dim,
            scale=1.0 / module.scale_attn,
            rotary=rotary,
        ),
        mlp=MLP(
            up=Projection(layer.mlp.fc_in),
            down=Projection(layer.mlp.fc_out),
            activation=activation_name(config.activation_function),
        ),
        attention_in=layer_norm(layer.ln_1),
        mlp_in=layer_norm(layer.ln_1),
        parallel=True,
    )


def _halves(n_heads: int, head_dim: int, width: int) -> Tensor:
    """Outputs of each head with the rotated pairs' first members before their second.

    The engine turns dimension i with i + width / 2, GPT-J 2 i with 2 i + 1. Queries and keys in
    the same other order have the same products.
    """
    turned = torch.arange(width).view(-1, 2).t().flatten()
    order = torch.cat([turned, torch.arange(width, head_dim)])
    return (torch.arange(n_heads)[:, None] * head_dim + order).flatten()


class _Angles:
    """cos and sin from the table that each attention module keeps."""

    def __init__(self, attention: Any):
        self._attention = attention
        self.width = attention.embed_positions.shape[1]

    def length_key(self, length: int) -> int:
        """One set of frequencies for all lengths."""
        return 0

    def __call__(self, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Cos and sin [T, width] at ``positions`` [T]."""
        table = self._attention.embed_positions.to(positions.device)
        sin, cos = table[positions].chunk(2, dim=-1)
        return cos.repeat(1, 2), sin.repeat(1, 2)
