"""Small random models of every family, chosen for what each family does differently.

One entry for each ``model_type`` that the registry knows: named cases, each the keyword arguments
of its configuration. A family without an entry fails ``test_decoders.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

Case = dict[str, Any]

VOCABULARY = 89
_SIZES = {"vocab_size": VOCABULARY, "num_hidden_layers": 4, "max_position_embeddings": 48}
_SIZES |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# Six query heads over two, three or all key heads; the head size is not H / heads where it is free.
_GATED = {"hidden_size": 36, "intermediate_size": 44, "num_attention_heads": 6}
_GATED |= {"num_key_value_heads": 2, "head_dim": 8}
_UNGATED = {"hidden_size": 36, "intermediate_size": 44, "num_attention_heads": 3}
# Shorter than every prompt but the shortest, shorter than some, longer than all.
NARROW, MIDDLE, WIDE = 3, 9, 40
_ALTERNATE = ["sliding_attention", "full_attention"] * 2


def _without(sizes: Case, *names: str) -> Case:
    return {name: size for name, size in sizes.items() if name not in names}


def _yarn(**more: Any) -> Case:
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}
    return yarn | {"original_max_position_embeddings": 12} | more


def _longrope(width: int, **more: Any) -> Case:
    short = [1.0 + 0.1 * i for i in range(width)]
    factors = {"short_factor": short, "long_factor": [3.0 * x for x in short]}
    long = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0}
    return long | factors | {"original_max_position_embeddings": 12} | more


CASES: dict[str, dict[str, Case]] = {
    "llama": {
        "biases": _GATED | {"attention_bias": True, "mlp_bias": True},
        "tied, yarn": _GATED | {"tie_word_embeddings": True, "rope_parameters": _yarn()},
        "longrope": _GATED | {"rope_parameters": _longrope(4)},
        "dynamic": _GATED
        | {
            "max_position_embeddings": 12,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
        },
    },
    "mistral": {
        "narrow window": _GATED | {"sliding_window": NARROW},
        "wide window": _GATED | {"sliding_window": WIDE},
        "no window": _GATED | {"sliding_window": None, "num_key_value_heads": 6},
    },
    "qwen2": {
        "some layers slide": _without(_GATED, "head_dim")
        | {"use_sliding_window": True, "sliding_window": MIDDLE, "max_window_layers": 2},
        "tied": _without(_GATED, "head_dim") | {"tie_word_embeddings": True},
    },
    "qwen3": {"head norms": _GATED | {"attention_bias": True}},
    "smollm3": {
        "two layers without RoPE": _without(_GATED, "head_dim")
        | {"no_rope_layers": [1, 0, 1, 0], "use_sliding_window": True, "sliding_window": MIDDLE},
    },
    "gemma": {"multi-query": _GATED | {"num_key_value_heads": 1}},
    "gemma2": {
        "soft-caps, windows": _GATED
        | {
            "attn_logit_softcapping": 1.5,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 20,
            "sliding_window": NARROW,
            "layer_types": _ALTERNATE,
        },
        "score cap alone": _GATED
        | {
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": None,
            "sliding_window": WIDE,
            "layer_types": _ALTERNATE,
        },
        "logit cap alone, untied": _GATED
        | {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": 2.0,
            "sliding_window": MIDDLE,
            "tie_word_embeddings": False,
            "attention_bias": True,
        },
    },
    "gemma3_text": {
        "two RoPEs": _GATED
        | {
            "layer_types": _ALTERNATE,
            "sliding_window": MIDDLE,
            "query_pre_attn_scalar": 11,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            },
        },
        "logit cap": _GATED
        | {
            "layer_types": _ALTERNATE,
            "sliding_window": NARROW,
            "final_logit_softcapping": 2.0,
            "num_key_value_heads": 3,
        },
    },
    "gemma3": {
        "beside a vision tower of as many layers": {
            "text_config": _SIZES | _GATED | {"layer_types": _ALTERNATE, "sliding_window": NARROW},
            "vision_config": {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 4}
            | {"num_attention_heads": 2, "image_size": 16, "patch_size": 8},
            "mm_tokens_per_image": 4,
            "image_token_id": VOCABULARY - 1,
        },
    },
    "olmo": {"norms without weights": _without(_GATED, "head_dim")},
    "olmo2": {"norms after": _without(_GATED, "head_dim") | {"attention_bias": True}},
    "olmo3": {
        "norms after, windows": _without(_GATED, "head_dim")
        | {
            "layer_types": _ALTERNATE,
            "sliding_window": NARROW,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": _yarn(),
            },
        },
    },
    "granite": {
        "multipliers": _without(_GATED, "head_dim")
        | {
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.7,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.5,
            "attention_bias": True,
        },
    },
    "stablelm": {
        "sequential": _without(_GATED, "head_dim")
        | {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.34}},
        "parallel, biases, norms of each head": _without(_GATED, "head_dim")
        | {
            "use_parallel_residual": True,
            "use_qkv_bias": True,
            "qk_layernorm": True,
            "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.67},
        },
    },
    "phi3": {
        "fused": _without(_GATED, "head_dim"),
        "window, longrope": _without(_GATED, "head_dim")
        | {
            "sliding_window": NARROW,
            "rope_parameters": _longrope(2, partial_rotary_factor=0.67),
            "original_max_position_embeddings": 12,
        },
    },
    "phi": {
        "head norms": _UNGATED
        | {
            "qk_layernorm": True,
            "hidden_act": "gelu_new",
            "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5},
        },
        "grouped": _UNGATED
        | {
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.67},
        },
    },
    "gpt2": {
        "tied": _without(_UNGATED, "intermediate_size") | {"n_inner": 44},
        "untied, scores scaled by layer": _without(_UNGATED, "intermediate_size")
        | {
            "scale_attn_by_inverse_layer_idx": True,
            "tie_word_embeddings": False,
            "activation_function": "relu",
        },
    },
    "gpt_neo": {
        "narrow windows": {"hidden_size": 36, "num_heads": 3, "intermediate_size": 44}
        | {"window_size": NARROW, "attention_types": [[["global", "local"], 2]], "num_layers": 4},
        "wide windows, untied": {"hidden_size": 36, "num_heads": 3, "intermediate_size": 44}
        | {"window_size": WIDE, "attention_types": [[["local"], 4]], "num_layers": 4}
        | {"tie_word_embeddings": False},
    },
    "gptj": {
        "part of each head turns": {"hidden_size": 36, "num_attention_heads": 3, "n_inner": 44}
        | {"rotary_dim": 8},
        "all of each head turns": {"hidden_size": 36, "num_attention_heads": 3, "n_inner": 44}
        | {"rotary_dim": 12, "activation_function": "gelu"},
    },
    "gpt_neox": {
        "parallel": _UNGATED | {"rope_parameters": {"partial_rotary_factor": 0.34}},
        "sequential, tied": _UNGATED
        | {
            "use_parallel_residual": False,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "rope_parameters": {"partial_rotary_factor": 1.0},
        },
    },
    "opt": {
        "norms before": _without(_UNGATED, "intermediate_size") | {"ffn_dim": 44},
        "norms after, projections": _without(_UNGATED, "intermediate_size")
        | {
            "ffn_dim": 44,
            "do_layer_norm_before": False,
            "word_embed_proj_dim": 20,
            "activation_function": "gelu",
        },
        "no biases, plain norms": _without(_UNGATED, "intermediate_size")
        | {"ffn_dim": 44, "enable_bias": False, "layer_norm_elementwise_affine": False},
    },
    "falcon": {
        "multi-query": _without(_UNGATED, "intermediate_size") | {"ffn_hidden_size": 44},
        "grouped, two norms": _without(_UNGATED, "intermediate_size")
        | {
            "ffn_hidden_size": 44,
            "num_attention_heads": 6,
            "num_kv_heads": 2,
            "new_decoder_architecture": True,
            "bias": True,
        },
        "grouped, one norm": _without(_UNGATED, "intermediate_size")
        | {
            "ffn_hidden_size": 44,
            "num_attention_heads": 6,
            "num_kv_heads": 3,
            "new_decoder_architecture": True,
            "num_ln_in_parallel_attn": 1,
        },
        "sequential": _without(_UNGATED, "intermediate_size")
        | {
            "ffn_hidden_size": 44,
            "parallel_attn": False,
            "multi_query": False,
            "tie_word_embeddings": False,
        },
    },
}


def build(model_type: str, case: Case) -> Any:
    """Return a float64 model with random weights that leave no bias, gain or cap idle."""
    config = AutoConfig.for_model(model_type, **(_SIZES | case))
    model = AutoModelForCausalLM.from_config(config).double().eval()
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        random = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        gain = parameter.dim() == 1 and name.endswith("weight")
        parameter.data = 1 + 0.2 * random if gain else 0.15 * random
    model.tie_weights()
    return model
