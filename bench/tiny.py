"""Build a tiny random model of any type of transformers, from its configuration's defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM

VOCABULARY = 120
LAYERS = 4

# Sizes by the names that configurations give them; a default that is smaller stays.
_SIZES = {
    "hidden_size d_model n_embd dim emb_dim embedding_dim hidden_size_global": 32,
    "intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff dff dim_ff ffn_hidden_size "
    "d_inner hidden_dim intermediate_size_mlp dense_intermediate_size feed_forward_size mlp_dim "
    "shared_expert_intermediate_size": 48,
    "moe_intermediate_size expert_ffn_hidden_size shared_intermediate_size "
    "shared_experts_intermediate_size moe_shared_expert_intermediate_size": 24,
    "num_hidden_layers encoder_layers decoder_layers n_layer n_layers num_layers depth "
    "num_decoder_layers num_encoder_layers num_layers_per_stack num_blocks": LAYERS,
    "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads "
    "attention_heads num_encoder_attention_heads num_decoder_attention_heads linear_num_heads "
    "linear_num_value_heads swa_num_attention_heads num_self_attention_heads "
    "num_cross_attention_heads index_n_heads": 4,
    "num_key_value_heads num_kv_heads kv_n_heads linear_num_key_heads swa_num_key_value_heads": 2,
    "head_dim d_kv d_head dim_head attention_head_size v_head_dim qk_rope_head_dim "
    "qk_nope_head_dim linear_head_dim linear_key_head_dim linear_value_head_dim swa_head_dim "
    "index_head_dim kv_channels mamba_d_head mamba_head_dim bottleneck_size": 8,
    "num_experts n_routed_experts num_local_experts moe_num_experts zero_expert_num": 4,
    "num_experts_per_tok num_experts_per_token moe_topk moe_top_k moe_k n_group topk_group "
    "num_expert_group n_groups mamba_n_groups max_window_layers num_kv_shared_layers": 2,
    "n_shared_experts num_shared_experts moe_num_shared_experts first_k_dense_replace "
    "num_dense_layers": 1,
    "vocab_size vocab_size_per_layer_input codebook_size audio_vocab_size entity_vocab_size "
    "decoder_vocab_size": VOCABULARY,
    "max_position_embeddings n_positions n_ctx max_seq_len model_max_length "
    "tpu_short_seq_length": 128,
    "q_lora_rank kv_lora_rank o_lora_rank hidden_size_per_layer_input embedding_size "
    "word_embed_proj_dim entity_emb_size lru_width laurel_rank": 16,
    "chunk_size mamba_chunk_size mamba_d_state ssm_state_size state_size rotary_dim": 8,
    "image_size crop_size": 16,
    "patch_size": 8,
    "num_channels in_channels": 3,
}
SIZES = {name: size for names, size in _SIZES.items() for name in names.split()}
PER_LAYER = "layer_types mlp_layer_types indexer_types layers_block_type block_types"


def shrunk(config: Any, fixed: dict[str, Any]) -> dict[str, Any]:
    """Arguments that make a configuration like ``config`` a tiny one; ``fixed`` ones as given."""
    small: dict[str, Any] = {}
    for name, value in vars(config).items():
        if hasattr(value, "to_dict"):
            inner = shrunk(value, fixed.get(name, {}))
            small[name] = {"model_type": value.model_type} | inner
        elif name in SIZES and isinstance(value, int) and not isinstance(value, bool):
            small[name] = min(value, SIZES[name])
        elif name in PER_LAYER.split() and value:
            small[name] = spread(value)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if hasattr(config, name):
            small[name] = 0
    nested = {name for name, value in small.items() if isinstance(value, dict)}
    return small | {name: value for name, value in fixed.items() if name not in nested}


def spread(kinds: Iterable[Any]) -> list[Any]:
    """As many layers as the tiny model has, of every kind, in the order of their appearance."""
    distinct = list(dict.fromkeys(kinds))
    return sorted((distinct * LAYERS)[:LAYERS], key=distinct.index)


def build(model_type: str, task: str, fixed: dict[str, Any]) -> Any:
    """A model of ``model_type`` for "causal" or "masked" prediction, weights drawn at random."""
    torch.manual_seed(0)
    cls = CONFIG_MAPPING[model_type]
    decoder = {"is_decoder", "causal"} & set(vars(cls())) if task == "causal" else ()
    fixed = dict.fromkeys(decoder, True) | fixed
    config = cls(**shrunk(cls(), fixed))
    auto = AutoModelForCausalLM if task == "causal" else AutoModelForMaskedLM
    return randomized(auto.from_config(config))


def randomized(model: nn.Module) -> Any:
    """Draw weights large enough that every neuron matters, and small enough to stay finite."""
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.is_floating_point() and weight.dim() >= 2:
                scale = 1.0 if "emb" in name else weight.shape[-1] ** -0.5
                weight.copy_(torch.randn(weight.shape, generator=drawn) * scale)
            elif weight.is_floating_point():
                weight.add_(torch.randn(weight.shape, generator=drawn) * 0.1)
    return model.eval()
