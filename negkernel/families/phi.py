"""Phi: attention and MLP in parallel behind one LayerNorm, RoPE on part of each head."""

from __future__ import annotations

from typing import Any

from negkernel.families.activations import activation_name
from negkernel.families.llama import embedding
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Norm, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("phi")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``PhiForCausalLM``."""
    config, body = model.config, model.model
    rotary = Rotary(body.rotary_emb, config)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embedding(body.embed_tokens, precision),
        final_norm=layer_norm(body.final_layernorm),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module, mlp = layer.self_attn, layer.mlp
    return Block(
        attention=Attention(
            query=Projection(module.q_proj),
            key=Projection(module.k_proj),
            value=Projection(module.v_proj),
            output=Projection(module.dense),
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_key_value_heads,
            head_dim=module.head_dim,
            scale=module.scaling,
            rotary=rotary,
            query_norm=_head_norm(module, "q_layernorm"),
            key_norm=_head_norm(module, "k_layernorm"),
        ),
        mlp=MLP(
            up=Projection(mlp.fc1),
            down=Projection(mlp.fc2),
            activation=activation_name(config.hidden_act),
        ),
        attention_in=layer_norm(layer.input_layernorm),
        mlp_in=layer_norm(layer.input_layernorm),
        parallel=True,
    )


def _head_norm(module: Any, name: str) -> Norm | None:
    return layer_norm(getattr(module, name)) if module.qk_layernorm else None
