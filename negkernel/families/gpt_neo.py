"""GPT-Neo: GPT-2 with separate projections, unscaled scores, a window in every other layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from negkernel.families.activations import activation_name
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register


@register("gpt_neo")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``GPTNeoForCausalLM``."""
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
    module = layer.attn.attention
    return Block(
        attention=Attention(
            query=Projection(module.q_proj),
            key=Projection(module.k_proj),
            value=Projection(module.v_proj),
            output=Projection(module.out_proj),
            n_heads=module.num_heads,
            n_kv_heads=module.num_heads,
            head_dim=module.head_dim,
            scale=1.0,
            window=config.window_size if module.attention_type == "local" else None,
        ),
        mlp=MLP(
            up=Projection(layer.mlp.c_fc),
            down=Projection(layer.mlp.c_proj),
            activation=activation_name(config.activation_function),
        ),
        attention_in=layer_norm(layer.ln_1),
        mlp_in=layer_norm(layer.ln_2),
    )
