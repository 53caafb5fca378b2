"""StableLM: Llama with LayerNorm, RoPE on part of each head, and parallel blocks if asked for."""

from __future__ import annotations

from typing import Any

from negkernel.families.llama import attention, embedding, gated_mlp
from negkernel.families.norms import layer_norm
from negkernel.families.parts import Block, Decoder, Precision, Projection
from negkernel.families.registry import register, unserved
from negkernel.families.rotary import Rotary


@register("stablelm")
def describe(model: Any, precision: Precision) -> Decoder:
    """Describe a ``StableLmForCausalLM``."""
    config, body = model.config, model.model
    if config.qk_layernorm:
        raise unserved(model, "a query and key norm with weights of its own for each head")
    rotary = Rotary(body.rotary_emb, config)
    return Decoder(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embedding(body.embed_tokens, precision),
        final_norm=layer_norm(body.norm),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    parallel = config.use_parallel_residual
    return Block(
        attention=attention(layer.self_attn, config, rotary),
        mlp=gated_mlp(layer.mlp, config.hidden_act),
        attention_in=layer_norm(layer.input_layernorm),
        mlp_in=layer_norm(layer.input_layernorm if parallel else layer.post_attention_layernorm),
        parallel=parallel,
    )
