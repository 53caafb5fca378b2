"""Phi-3: Llama with one matrix for query, key and value and one for gate and up."""

from __future__ import annotations

from typing import Any

from negkernel.families.activations import activation_name
from negkernel.families.fused import stacked
from negkernel.families.llama import embedding
from negkernel.families.norms import rms
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("phi3")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``Phi3ForCausalLM``."""
    config, body = model.config, model.model
    rotary = Rotary(body.rotary_emb, config)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embedding(body.embed_tokens, precision),
        final_norm=rms(body.norm),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module, mlp = layer.self_attn, layer.mlp
    n_heads, n_kv_heads = config.num_attention_heads, config.num_key_value_heads
    query, key, value = stacked(module.qkv_proj, n_heads, n_kv_heads, module.head_dim)
    width = config.intermediate_size
    return Block(
        attention=Attention(
            query=query,
            key=key,
            value=value,
            output=Projection(module.o_proj),
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            head_dim=module.head_dim,
            scale=module.scaling,
            rotary=rotary,
            window=config.sliding_window,
        ),
        mlp=MLP(
            gate=Projection(mlp.gate_up_proj, slice(0, width)),
            up=Projection(mlp.gate_up_proj, slice(width, 2 * width)),
            down=Projection(mlp.down_proj),
            activation=activation_name(config.hidden_act),
        ),
        attention_in=rms(layer.input_layernorm),
        mlp_in=rms(layer.post_attention_layernorm),
    )
