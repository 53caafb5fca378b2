"""BERT and RoBERTa: post-norm LayerNorm, learned positions, GELU.

RoBERTa and its kin keep the layers and change where positions start (after the padding index, as
``position_ids`` count only other tokens) and what the head's modules are called.
"""

from __future__ import annotations

from typing import Any

import torch
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


@register("bert", task="masked")
def describe_bert(model: Any, precision: Precision) -> Description:
    """Describe a ``BertForMaskedLM``."""
    body, config, head = model.bert, model.config, model.cls.predictions
    embeddings = body.embeddings

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        return _embed(embeddings, ids, positions, precision)

    return Description(
        blocks=tuple(_layer(layer, config) for layer in body.encoder.layer),
        embed=embed,
        projection=Projection(head.transform.dense),
        activation=activation_name(config.hidden_act),
        head_norm=layer_norm(head.transform.LayerNorm),
        head=Projection(head.decoder),
        causal=False,
    )


@register("roberta", "xlm-roberta", "camembert", task="masked")
def describe_roberta(model: Any, precision: Precision) -> Description:
    """Describe a ``RobertaForMaskedLM``."""
    body, head = model.roberta, model.lm_head
    embeddings = body.embeddings

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        counted = (ids != embeddings.padding_idx).to(ids.dtype)
        running = torch.cat([counted.new_zeros(1), counted.cumsum(0)])
        node = torch.arange(len(ids), device=ids.device)
        own = running[1:] - running[node - positions]  # since its prompt's first token
        positions = own * counted + embeddings.padding_idx
        return _embed(embeddings, ids, positions, precision)

    return Description(
        blocks=tuple(_layer(layer, model.config) for layer in body.encoder.layer),
        embed=embed,
        projection=Projection(head.dense),
        activation="gelu",  # whatever the config says of the layers
        head_norm=layer_norm(head.layer_norm),
        head=Projection(head.decoder),
        causal=False,
    )


def _embed(embeddings: Any, ids: Tensor, positions: Tensor, precision: Precision) -> Tensor:
    """Sum of word, position and first-segment embeddings, normed: the prompt is one segment."""
    words = embeddings.word_embeddings(ids).to(precision.state)
    words = words + embeddings.token_type_embeddings.weight[0]
    words = words + embeddings.position_embeddings(positions)
    norm: Norm = bind(layer_norm(embeddings.LayerNorm), precision)
    return norm(words)


def _layer(layer: Any, config: Any) -> Block:
    attention, attended = layer.attention.self, layer.attention.output
    return Block(
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
            activation=activation_name(config.hidden_act),
        ),
        attention_sum=layer_norm(attended.LayerNorm),
        mlp_sum=layer_norm(layer.output.LayerNorm),
    )
