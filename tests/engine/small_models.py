"""Random models of a few thousand parameters that exercise each family's peculiarities.

Weights are large enough for shifts of +-2 to move log-probs by whole nats: a mistake in any term
is then far above the budgets.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

V = 101
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,  # not hidden_size / num_attention_heads
    "max_position_embeddings": 64,
    "attn_implementation": "sdpa",
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
ORIGINAL = 12  # positions that the scaled RoPE variants were "trained" on: prompts lie either side


def _rope(kind: str, **parameters: Any) -> dict[str, Any]:
    parameters.setdefault("original_max_position_embeddings", ORIGINAL)
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **parameters}}


_FACTORS = {
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "long_factor": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
}
_CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama-biases": (LlamaForCausalLM, LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "llama-tied": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "llama-mha": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 4}),
    "llama-mqa": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 1}),
    "llama-gelu": (LlamaForCausalLM, LlamaConfig, {"hidden_act": "gelu"}),
    "llama-linear": (LlamaForCausalLM, LlamaConfig, _rope("linear", factor=2.0)),
    "llama-dynamic": (
        LlamaForCausalLM,
        LlamaConfig,
        {"rope_parameters": DYNAMIC, "max_position_embeddings": ORIGINAL},
    ),
    "llama-yarn": (LlamaForCausalLM, LlamaConfig, _rope("yarn", factor=4.0)),
    "llama-longrope": (LlamaForCausalLM, LlamaConfig, _rope("longrope", factor=4.0, **_FACTORS)),
    "llama3": (
        LlamaForCausalLM,
        LlamaConfig,
        _rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0),
    ),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "mistral-short-window": (MistralForCausalLM, MistralConfig, {"sliding_window": 5}),
    "mistral-long-window": (MistralForCausalLM, MistralConfig, {"sliding_window": 40}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {}),
    "qwen3-window": (
        Qwen3ForCausalLM,
        Qwen3Config,
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
    ),
}
NAMES = tuple(_CASES)
ROPE_THAT_REMEMBERS = ("llama-dynamic", "llama-longrope")


def build(name: str, dtype: torch.dtype = torch.float64, *, seed: int = 0, **sizes: Any) -> Any:
    """Return the model ``name`` with ``sizes`` changed; the same weights for the same seed."""
    model_class, config_class, options = _CASES[name]
    model = model_class(config_class(**{**SIZES, **options, **sizes}))
    generator = torch.Generator().manual_seed(seed)
    for key, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = 0.2 * values + (1.0 if key.endswith("norm.weight") else 0.0)
    return in_dtype(model, dtype).eval()


def in_dtype(model: Any, dtype: torch.dtype) -> Any:
    """Convert the parameters alone, as ``from_pretrained`` does: RoPE keeps float32 buffers."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype
    return model


def float64_copy(model: Any) -> Any:
    """Return the same weights in float64: the model whose outputs are the truth."""
    return in_dtype(copy.deepcopy(model), torch.float64)
