"""Falcon: parallel blocks, few key heads; from 40B on a LayerNorm of its own for the MLP."""

from __future__ import annotations

from typing import Any

from negkernel.families.activations import activation_name
from negkernel.families.fused import interleaved
from negkernel.families.llama import embedding
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register, unserved
from negkernel.families.rotary import Rotary


@register("falcon")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``FalconForCausalLM``."""
    config, body = model.config, model.transformer
    if config.alibi:
        raise unserved(model, "ALiBi position biases")
    rotary = Rotary(body.rotary_emb, config)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.h),
        embed=embedding(body.word_embeddings, precision),
        final_norm=layer_norm(body.ln_f),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module, n_heads = layer.self_attention, config.num_attention_heads
    if config.new_decoder_architecture:
        n_kv_heads = config.num_kv_heads
    else:
        n_kv_heads = 1 if config.multi_query else n_heads
    query, key, value = interleaved(module.query_key_value, n_heads, n_kv_heads, module.head_dim)
    parallel = config.new_decoder_architecture or config.parallel_attn
    if hasattr(layer, "ln_attn"):
        attention_in, mlp_in = layer.ln_attn, layer.ln_mlp
    else:
        attention_in = layer.input_layernorm
        mlp_in = attention_in if parallel else layer.post_attention_layernorm
    return Block(
        attention=Attention(
            query=query,
            key=key,
            value=value,
            output=Projection(module.dense),
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            head_dim=module.head_dim,
            scale=module.inv_norm_factor,
            rotary=rotary,
        ),
        mlp=MLP(
            up=Projection(layer.mlp.dense_h_to_4h),
            down=Projection(layer.mlp.dense_4h_to_h),
            activation=activation_name(config.activation),
        ),
        attention_in=layer_norm(attention_in),
        mlp_in=layer_norm(mlp_in),
        parallel=parallel,
    )
