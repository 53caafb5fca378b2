"""StableLM: Llama with LayerNorm and RoPE on part of each head.

If asked for, attention and MLP run in parallel, and each head norms its queries and keys with
weights of its own.
"""

from __future__ import annotations

from typing import Any

from negkernel.families.llama import attention, embedding, gated_mlp
from negkernel.families.norms import layer_norm, layer_norm_per_head
from negkernel.families.parts import Block, Description, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("stablelm")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``StableLmForCausalLM``."""
    config, body = model.config, model.model
    rotary = Rotary(body.rotary_emb, config)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embedding(body.embed_tokens, precision),
        final_norm=layer_norm(body.norm),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module, parallel = layer.self_attn, config.use_parallel_residual
    norms = {}
    if config.qk_layernorm:
        norms = {
            "query_norm": layer_norm_per_head(module.q_layernorm.norms),
            "key_norm": layer_norm_per_head(module.k_layernorm.norms),
        }
    return Block(
        attention=attention(module, config, rotary, **norms),
        mlp=gated_mlp(layer.mlp, config.hidden_act),
        attention_in=layer_norm(layer.input_layernorm),
        mlp_in=layer_norm(layer.input_layernorm if parallel else layer.post_attention_layernorm),
        parallel=parallel,
    )
