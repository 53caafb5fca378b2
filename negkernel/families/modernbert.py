"""ModernBERT: pre-norm, RoPE, GeGLU, and windows on all but every third layer.

``Wi`` holds the half that goes through GELU first and the linear half second. The library's code
calls the second one ``gate``; here, as for every gated MLP, "gate" is the half inside the
activation and "up" the linear one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from negkernel.families.activations import activation_name
from negkernel.families.norms import layer_norm
from negkernel.families.parts import (
    MLP,
    Attention,
    Block,
    Description,
    Norm,
    Precision,
    Projection,
    bind,
)
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("modernbert", task="masked")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``ModernBertForMaskedLM``."""
    body, config = model.model, model.config
    embeddings = body.embeddings
    rotary = {
        kind: Rotary(body.rotary_emb, config, {"layer_type": kind})
        for kind in set(config.layer_types)
    }

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        words = embeddings.tok_embeddings(ids).to(precision.state)
        norm: Norm = bind(layer_norm(embeddings.norm), precision)
        return norm(words)

    return Description(
        blocks=tuple(_layer(layer, config, rotary[layer.attention_type]) for layer in body.layers),
        embed=embed,
        final_norm=layer_norm(body.final_norm),
        projection=Projection(model.head.dense),
        activation=activation_name(config.classifier_activation),
        head_norm=layer_norm(model.head.norm),
        head=Projection(model.decoder),
        causal=False,
    )


def _layer(layer: Any, config: Any, rotary: Rotary) -> Block:
    attention, mlp = layer.attn, layer.mlp
    H, I = config.hidden_size, config.intermediate_size
    return Block(
        attention=Attention(
            query=Projection(attention.Wqkv, slice(0, H)),
            key=Projection(attention.Wqkv, slice(H, 2 * H)),
            value=Projection(attention.Wqkv, slice(2 * H, 3 * H)),
            output=Projection(attention.Wo),
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_attention_heads,
            head_dim=attention.head_dim,
            scale=attention.head_dim**-0.5,
            window=attention.sliding_window,
            rotary=rotary,
        ),
        mlp=MLP(
            gate=Projection(mlp.Wi, slice(0, I)),
            up=Projection(mlp.Wi, slice(I, 2 * I)),
            down=Projection(mlp.Wo),
            activation=activation_name(config.hidden_activation),
        ),
        attention_in=_norm(layer.attn_norm),
        mlp_in=layer_norm(layer.mlp_norm),
    )


def _norm(module: nn.Module) -> Norm | None:
    """The first layer reads the embeddings, which are normed already."""
    return layer_norm(module) if isinstance(module, nn.LayerNorm) else None
