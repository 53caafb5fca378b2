"""Models whose weights lie elsewhere."""

from __future__ import annotations

import torch
from accelerate import dispatch_model
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def llama(seed=3, scale=0.25, **changes):
    """A Llama with weights large enough for shifts to move log-probs by tenths of nats."""
    generator = torch.Generator().manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * scale if parameter.dim() > 1 else 1 + noise * 0.1)
    return model.eval()


ENDS = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head")


def offloaded(model, folder, *, ends=True):
    """Put the layers, and the ends too, into files of ``folder``."""
    layers = [f"model.layers.{i}" for i in range(model.config.num_hidden_layers)]
    places = dict.fromkeys(layers, "disk") | dict.fromkeys(ENDS, "disk" if ends else "cpu")
    return dispatch_model(
        model, places, main_device="cpu", offload_dir=str(folder), force_hooks=True
    )
