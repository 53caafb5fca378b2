"""Random masked models of a few thousand parameters that exercise each family's peculiarities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CamembertConfig,
    CamembertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from negkernel import Engine

V = 101
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
DISTIL = {
    "vocab_size": V,
    "dim": 32,
    "hidden_dim": 40,
    "n_layers": 4,
    "n_heads": 4,
    "max_position_embeddings": 64,
}
IDS = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3}
MODERN = {**SIZES, **IDS, "sep_token_id": 3, "global_attn_every_n_layers": 3}
BIASES = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}
ROBERTA = {**SIZES, "pad_token_id": 1, "type_vocab_size": 1}

_CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "bert": (BertForMaskedLM, BertConfig, SIZES),
    "bert-untied-tanh": (
        BertForMaskedLM,
        BertConfig,
        {**SIZES, "hidden_act": "gelu_new", "tie_word_embeddings": False},
    ),
    "bert-relu": (BertForMaskedLM, BertConfig, {**SIZES, "hidden_act": "relu"}),
    "bert-one-layer": (BertForMaskedLM, BertConfig, {**SIZES, "num_hidden_layers": 1}),
    "bert-two-layers": (BertForMaskedLM, BertConfig, {**SIZES, "num_hidden_layers": 2}),
    "roberta": (RobertaForMaskedLM, RobertaConfig, ROBERTA),
    "xlm-roberta": (XLMRobertaForMaskedLM, XLMRobertaConfig, ROBERTA),
    "camembert": (CamembertForMaskedLM, CamembertConfig, ROBERTA),
    "distilbert": (DistilBertForMaskedLM, DistilBertConfig, DISTIL),
    "modernbert-short-window": (
        ModernBertForMaskedLM,
        ModernBertConfig,
        {**MODERN, "local_attention": 8},
    ),
    "modernbert-long-window": (
        ModernBertForMaskedLM,
        ModernBertConfig,
        {**MODERN, **BIASES, "local_attention": 80},
    ),
    "modernbert-two-layers": (
        ModernBertForMaskedLM,
        ModernBertConfig,
        {**MODERN, "num_hidden_layers": 2, "global_attn_every_n_layers": 2, "local_attention": 8},
    ),
}
CASES = tuple(_CASES)


class MaskToken:
    """All that an engine asks of a tokenizer when prompts and targets are token ids."""

    mask_token_id = 4

    def decode(self, ids: list[int]) -> str:
        """Return the ids as text."""
        return " ".join(map(str, ids))


def build(case: str, dtype: torch.dtype = torch.float64) -> Any:
    """Return the model with weights large enough for shifts of +-2 to move whole nats."""
    model_class, config_class, options = _CASES[case]
    torch.manual_seed(1)
    model = model_class(config_class(**options))
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.2)
        if "norm" in name.lower() and name.endswith("weight"):
            parameter.data += 1
    return model.to(dtype).eval()


def engine(case: str, dtype: torch.dtype = torch.float64, **options: Any) -> Engine:
    return Engine(build(case, dtype), MaskToken(), **options)


def sites(engine: Engine) -> tuple[str, ...]:
    return ("up", "gate", "post") if engine.site == "up" else ("pre", "post")


def some_neurons(engine: Engine) -> np.ndarray:
    """Neurons of every layer, in no order, one layer twice."""
    L, I = engine.n_layers, engine.n_neurons
    return np.array([[(3 * n + 1) % L, 7 * n % I] for n in range(L + 1)])
