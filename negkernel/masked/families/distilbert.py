"""DistilBERT: BERT without segments, under names of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negkernel.families.parts import MLP, Attention, Norm, Precision, Projection, bind
from negkernel.masked.families.registry import activation, register
from negkernel.masked.parts import Encoder, EncoderLayer, Head, layer_norm


@register("distilbert")
def describe(model: Any, precision: Precision) -> Encoder:
    """Describe a ``DistilBertForMaskedLM``."""
    body, config = model.distilbert, model.config
    embeddings = body.embeddings

    def embed(ids: Tensor) -> Tensor:
        words = embeddings.word_embeddings(ids).to(precision.state)
        positions = torch.arange(ids.shape[1], device=ids.device)
        words = words + embeddings.position_embeddings(positions)
        norm: Norm = bind(layer_norm(embeddings.LayerNorm), precision)
        return norm(words)

    return Encoder(
        layers=tuple(_layer(layer, config) for layer in body.transformer.layer),
        embed=embed,
        head=Head(
            dense=Projection(model.vocab_transform),
            activation=activation(config.activation),
            norm=layer_norm(model.vocab_layer_norm),
            decoder=Projection(model.vocab_projector),
        ),
    )


def _layer(layer: Any, config: Any) -> EncoderLayer:
    attention = layer.attention
    return EncoderLayer(
        attention=Attention(
            query=Projection(attention.q_lin),
            key=Projection(attention.k_lin),
            value=Projection(attention.v_lin),
            output=Projection(attention.out_lin),
            n_heads=attention.n_heads,
            n_kv_heads=attention.n_heads,
            head_dim=attention.attention_head_size,
            scale=attention.scaling,
        ),
        mlp=MLP(
            up=Projection(layer.ffn.lin1),
            down=Projection(layer.ffn.lin2),
            activation=activation(config.activation),
        ),
        attention_norm=layer_norm(layer.sa_layer_norm),
        mlp_norm=layer_norm(layer.output_layer_norm),
        post_norm=True,
    )
