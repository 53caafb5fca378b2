"""ModernBERT: pre-norm, RoPE, GeGLU, and windows on all but every third layer.

``Wi`` holds the half that goes through GELU first and the linear half second. The library's code
calls the second one ``gate``; here, as for every gated MLP, "gate" is the half inside the
activation and "up" the linear one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from negkernel.families.parts import MLP, Attention, Norm, Precision, Projection, bind
from negkernel.families.rotary import Rotary
from negkernel.masked.families.registry import activation, register
from negkernel.masked.parts import Encoder, EncoderLayer, Head, layer_norm


@register("modernbert")
def describe(model: Any, precision: Precision) -> Encoder:
    """Describe a ``ModernBertForMaskedLM``."""
    body, config = model.model, model.config
    embeddings = body.embeddings
    rotary = {
        kind: Rotary(body.rotary_emb, config, {"layer_type": kind})
        for kind in set(config.layer_types)
    }

    def embed(ids: Tensor) -> Tensor:
        words = embeddings.tok_embeddings(ids).to(precision.state)
        norm: Norm = bind(layer_norm(embeddings.norm), precision)
        return norm(words)

    return Encoder(
        layers=tuple(_layer(layer, config, rotary[layer.attention_type]) for layer in body.layers),
        embed=embed,
        final_norm=layer_norm(body.final_norm),
        head=Head(
            dense=Projection(model.head.dense),
            activation=activation(config.classifier_activation),
            norm=layer_norm(model.head.norm),
            decoder=Projection(model.decoder),
        ),
    )


def _layer(layer: Any, config: Any, rotary: Rotary) -> EncoderLayer:
    attention, mlp = layer.attn, layer.mlp
    H, I = config.hidden_size, config.intermediate_size
    return EncoderLayer(
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
        ),
        mlp=MLP(
            gate=Projection(mlp.Wi, slice(0, I)),
            up=Projection(mlp.Wi, slice(I, 2 * I)),
            down=Projection(mlp.Wo),
            activation=activation(config.hidden_activation),
        ),
        attention_norm=_norm(layer.attn_norm),
        mlp_norm=layer_norm(layer.mlp_norm),
        post_norm=False,
        rotary=rotary,
    )


def _norm(module: nn.Module) -> Norm | None:
    """The first layer reads the embeddings, which are normed already."""
    return layer_norm(module) if isinstance(module, nn.LayerNorm) else None
