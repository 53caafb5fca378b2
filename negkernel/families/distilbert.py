"""DistilBERT: BERT without segments, under names of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

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


@register("distilbert", task="masked")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``DistilBertForMaskedLM``."""
    body, config = model.distilbert, model.config
    embeddings = body.embeddings

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        words = embeddings.word_embeddings(ids).to(precision.state)
        words = words + embeddings.position_embeddings(positions)
        norm: Norm = bind(layer_norm(embeddings.LayerNorm), precision)
        return norm(words)

    return Description(
        blocks=tuple(_layer(layer, config) for layer in body.transformer.layer),
        embed=embed,
        projection=Projection(model.vocab_transform),
        activation=activation_name(config.activation),
        head_norm=layer_norm(model.vocab_layer_norm),
        head=Projection(model.vocab_projector),
        causal=False,
    )


def _layer(layer: Any, config: Any) -> Block:
    attention = layer.attention
    return Block(
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
            activation=activation_name(config.activation),
        ),
        attention_sum=layer_norm(layer.sa_layer_norm),
        mlp_sum=layer_norm(layer.output_layer_norm),
    )
