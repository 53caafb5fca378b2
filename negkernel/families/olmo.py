"""OLMo, and OLMo 2 and 3, which norm what a sublayer adds instead of what it reads.

OLMo's LayerNorms have no weights. OLMo 2 norms queries and keys over all heads together; OLMo 3
slides a window in most layers and gives those a RoPE of their own.
"""

from __future__ import annotations

from typing import Any

from negkernel.families.llama import attention, embedding, gated_mlp
from negkernel.families.norms import rms
from negkernel.families.parts import Block, Description, Norm, Precision, Projection
from negkernel.families.registry import register, unserved
from negkernel.families.rotary import Rotary


@register("olmo")
def describe_olmo(model: Any, precision: Precision) -> Description:
    """Describe an ``OlmoForCausalLM``."""
    config, body = model.config, model.model
    if config.clip_qkv is not None:
        raise unserved(model, f"clipped queries, keys and values (clip_qkv={config.clip_qkv})")
    rotary = Rotary(body.rotary_emb, config)
    blocks = [
        Block(
            attention=attention(layer.self_attn, config, rotary),
            mlp=gated_mlp(layer.mlp, config.hidden_act),
            attention_in=_plain(layer.input_layernorm),
            mlp_in=_plain(layer.post_attention_layernorm),
        )
        for layer in body.layers
    ]
    return Description(
        blocks=tuple(blocks),
        embed=embedding(body.embed_tokens, precision),
        final_norm=_plain(body.norm),
        head=Projection(model.lm_head),
    )


def _plain(module: Any) -> Norm:
    """Describe OLMo's LayerNorm, whose epsilon is written into its forward."""
    return Norm(module, 1e-5, kind="layer")


@register("olmo2", "olmo3")
def describe(model: Any, precision: Precision) -> Description:
    """Describe an ``Olmo2ForCausalLM`` or ``Olmo3ForCausalLM``."""
    config, body = model.config, model.model
    if config.model_type == "olmo2":
        rotaries = [Rotary(body.rotary_emb, config)] * len(body.layers)
    else:
        kinds = config.layer_types
        own = {kind: Rotary(body.rotary_emb, config, {"layer_type": kind}) for kind in set(kinds)}
        rotaries = [own[kind] for kind in kinds]
    pairs = zip(body.layers, rotaries, strict=True)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer, rotary in pairs),
        embed=embedding(body.embed_tokens, precision),
        final_norm=rms(body.norm),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module = layer.self_attn
    return Block(
        attention=attention(
            module,
            config,
            rotary,
            query_norm=rms(module.q_norm),
            key_norm=rms(module.k_norm),
            joint_norm=True,
            window=getattr(module, "sliding_window", None),
        ),
        mlp=gated_mlp(layer.mlp, config.hidden_act),
        attention_out=rms(layer.post_attention_layernorm),
        mlp_out=rms(layer.post_feedforward_layernorm),
    )
