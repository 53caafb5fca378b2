"""BERT and RoBERTa: post-norm LayerNorm, learned positions, GELU.

RoBERTa and its kin keep the layers and change where positions start (after the padding index, as
``position_ids`` count only other tokens) and what the head's modules are called.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negkernel.families.parts import MLP, Attention, Norm, Precision, Projection, bind
from negkernel.masked.families.registry import activation, register
from negkernel.masked.parts import Encoder, EncoderLayer, Head, layer_norm


@register("bert")
def describe_bert(model: Any, precision: Precision) -> Encoder:
    """Describe a ``BertForMaskedLM``."""
    body, config, head = model.bert, model.config, model.cls.predictions
    embeddings = body.embeddings

    def embed(ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return _embed(embeddings, ids, positions, precision)

    return Encoder(
        layers=tuple(_layer(layer, config) for layer in body.encoder.layer),
        embed=embed,
        head=Head(
            dense=Projection(head.transform.dense),
            activation=activation(config.hidden_act),
            norm=layer_norm(head.transform.LayerNorm),
            decoder=Projection(head.decoder),
        ),
    )


@register("roberta", "xlm-roberta", "camembert")
def describe_roberta(model: Any, precision: Precision) -> Encoder:
    """Describe a ``RobertaForMaskedLM``."""
    body, head = model.roberta, model.lm_head
    embeddings = body.embeddings

    def embed(ids: Tensor) -> Tensor:
        counted = (ids != embeddings.padding_idx).to(ids.dtype)
        positions = counted.cumsum(1) * counted + embeddings.padding_idx
        return _embed(embeddings, ids, positions, precision)

    return Encoder(
        layers=tuple(_layer(layer, model.config) for layer in body.encoder.layer),
        embed=embed,
        head=Head(
            dense=Projection(head.dense),
            activation="gelu",  # whatever the config says of the layers
            norm=layer_norm(head.layer_norm),
            decoder=Projection(head.decoder),
        ),
    )


def _embed(embeddings: Any, ids: Tensor, positions: Tensor, precision: Precision) -> Tensor:
    """Sum of word, position and first-segment embeddings, normed: the prompt is one segment."""
    words = embeddings.word_embeddings(ids).to(precision.state)
    words = words + embeddings.token_type_embeddings.weight[0]
    words = words + embeddings.position_embeddings(positions)
    norm: Norm = bind(layer_norm(embeddings.LayerNorm), precision)
    return norm(words)


def _layer(layer: Any, config: Any) -> EncoderLayer:
    attention, attended = layer.attention.self, layer.attention.output
    return EncoderLayer(
        attention=Attention(
            query=Projection(attention.query),
            key=Projection(attention.key),
            value=Projection(attention.value),
            output=Projection(attended.dense),
            n_heads=attention.num_attention_heads,
            n_kv_heads=attention.num_attention_heads,
            head_dim=attention.attention_head_size,
            scale=attention.scaling,
        ),
        mlp=MLP(
            up=Projection(layer.intermediate.dense),
            down=Projection(layer.output.dense),
            activation=activation(config.hidden_act),
        ),
        attention_norm=layer_norm(attended.LayerNorm),
        mlp_norm=layer_norm(layer.output.LayerNorm),
        post_norm=True,
    )
