"""GPT-2: learned positions, transposed weights (``Conv1D``), one matrix for q, k and v."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from negkernel.families.activations import activation_name
from negkernel.families.fused import stacked
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register


@register("gpt2")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``GPT2LMHeadModel``."""
    config, body = model.config, model.transformer

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        return body.wte(ids).to(precision.state) + body.wpe(positions).to(precision.state)

    return Description(
        blocks=tuple(_block(layer, config) for layer in body.h),
        embed=embed,
        final_norm=layer_norm(body.ln_f),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any) -> Block:
    module, n_heads = layer.attn, config.num_attention_heads
    query, key, value = stacked(module.c_attn, n_heads, n_heads, module.head_dim)
    return Block(
        attention=Attention(
            query=query,
            key=key,
            value=value,
            output=Projection(module.c_proj),
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=module.head_dim,
            scale=module.scaling,
        ),
        mlp=MLP(
            up=Projection(layer.mlp.c_fc),
            down=Projection(layer.mlp.c_proj),
            activation=activation_name(config.activation_function),
        ),
        attention_in=layer_norm(layer.ln_1),
        mlp_in=layer_norm(layer.ln_2),
    )
