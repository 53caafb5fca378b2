"""Granite: Llama with multipliers on embedding, scores, residual sums and logits."""

from __future__ import annotations

from typing import Any

from negkernel.families.llama import attention, embedding, gated_mlp
from negkernel.families.norms import rms
from negkernel.families.parts import Block, Description, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("granite")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``GraniteForCausalLM``."""
    config, body = model.config, model.model
    rotary = Rotary(body.rotary_emb, config)
    blocks = [
        Block(
            attention=attention(layer.self_attn, config, rotary),
            mlp=gated_mlp(layer.mlp, config.hidden_act),
            attention_in=rms(layer.input_layernorm),
            mlp_in=rms(layer.post_attention_layernorm),
            residual_scale=config.residual_multiplier,
        )
        for layer in body.layers
    ]
    return Description(
        blocks=tuple(blocks),
        embed=embedding(body.embed_tokens, precision, scale=config.embedding_multiplier),
        final_norm=rms(body.norm),
        head=Projection(model.lm_head),
        logit_scale=1.0 / config.logits_scaling,
    )
