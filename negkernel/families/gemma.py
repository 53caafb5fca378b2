"""Gemma, Gemma 2 and Gemma 3: norms with gain 1 + w, scaled embeddings, GELU gates.

Gemma 2 and 3 also norm what a sublayer adds, and slide a window in some layers. Gemma 2 soft-caps
the scores and the logits; Gemma 3 norms queries and keys and gives sliding layers a RoPE of their
own.
"""

from __future__ import annotations

from typing import Any

from negkernel.families.llama import attention, embedding, gated_mlp
from negkernel.families.norms import rms
from negkernel.families.parts import Block, Description, Precision, Projection
from negkernel.families.registry import register, unserved
from negkernel.families.rotary import Rotary


@register("gemma", "gemma2", "gemma3_text", "gemma3")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``GemmaForCausalLM`` of the first three generations.

    Also the language model of a ``Gemma3ForConditionalGeneration``, which is what the larger
    Gemma 3 checkpoints load as.
    """
    config, body = model.config.get_text_config(), model.get_decoder()
    if getattr(config, "use_bidirectional_attention", False):
        raise unserved(model, "attention to later tokens")
    if config.model_type == "gemma":
        rotary = Rotary(body.rotary_emb, config)
        blocks = [_block(layer, config, rotary) for layer in body.layers]
    else:
        rotaries = _rotaries(body.rotary_emb, config)
        kinds = zip(body.layers, config.layer_types, strict=True)
        blocks = [_sandwich(layer, config, rotaries[kind]) for layer, kind in kinds]
    with_images = model.config.model_type == "gemma3"  # caps no logits, whatever it sets
    return Description(
        blocks=tuple(blocks),
        embed=embedding(body.embed_tokens, precision),  # the module itself scales
        final_norm=rms(body.norm, offset=1.0),
        head=Projection(model.lm_head),
        softcap=None if with_images else getattr(config, "final_logit_softcapping", None),
    )


def _rotaries(module: Any, config: Any) -> dict[str, Rotary]:
    """One RoPE for each kind of layer: the same one in Gemma 2."""
    kinds = set(config.layer_types)
    if config.model_type == "gemma2":
        return dict.fromkeys(kinds, Rotary(module, config))
    return {kind: Rotary(module, config, {"layer_type": kind}) for kind in kinds}


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    return Block(
        attention=attention(layer.self_attn, config, rotary),
        mlp=gated_mlp(layer.mlp, config.hidden_act),
        attention_in=rms(layer.input_layernorm, offset=1.0),
        mlp_in=rms(layer.post_attention_layernorm, offset=1.0),
    )


def _sandwich(layer: Any, config: Any, rotary: Rotary) -> Block:
    """Return a block with norms before and after each sublayer."""
    module = layer.self_attn
    if config.model_type == "gemma2":
        odd = {"softcap": config.attn_logit_softcapping}
    else:  # Gemma 3 has the setting as well but does not cap
        odd = {
            "query_norm": rms(module.q_norm, offset=1.0),
            "key_norm": rms(module.k_norm, offset=1.0),
        }
    return Block(
        attention=attention(module, config, rotary, window=module.sliding_window, **odd),
        mlp=gated_mlp(layer.mlp, config.hidden_activation),
        attention_in=rms(layer.input_layernorm, offset=1.0),
        attention_out=rms(layer.post_attention_layernorm, offset=1.0),
        mlp_in=rms(layer.pre_feedforward_layernorm, offset=1.0),
        mlp_out=rms(layer.post_feedforward_layernorm, offset=1.0),
    )
