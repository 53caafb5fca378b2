"""Llama and its siblings: pre-norm RMSNorm, RoPE, GQA, a gated MLP.

Mistral adds a sliding window, Qwen2 biases on q, k and v, Qwen3 norms of each head's query and
key, SmolLM3 layers without RoPE. All of that is read off the modules, so one description serves
them all. Other families borrow their parts from here and state what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from negkernel.families.activations import activation_name
from negkernel.families.norms import rms
from negkernel.families.parts import MLP, Attention, Block, Description, Norm, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("llama", "mistral", "qwen2", "qwen3", "smollm3")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``LlamaForCausalLM``-shaped model."""
    config, body = model.config, model.model
    rotary = Rotary(body.rotary_emb, config)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embedding(body.embed_tokens, precision),
        final_norm=rms(body.norm),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module = layer.self_attn
    # Mistral keeps the window in the config, the others on each layer that slides.
    window = getattr(module, "sliding_window", None)
    if config.model_type == "mistral":
        window = config.sliding_window
    return Block(
        attention=attention(
            module,
            config,
            rotary if getattr(module, "use_rope", True) else None,
            query_norm=_head_norm(module, "q_norm"),
            key_norm=_head_norm(module, "k_norm"),
            window=window,
        ),
        mlp=gated_mlp(layer.mlp, config.hidden_act),
        attention_in=rms(layer.input_layernorm),
        mlp_in=rms(layer.post_attention_layernorm),
    )


def _head_norm(module: Any, name: str) -> Norm | None:
    norm = getattr(module, name, None)
    return None if norm is None else rms(norm)


def embedding(
    module: Any, precision: Precision, scale: float = 1.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """Token embedding without positions, times ``scale``."""

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = module(ids).to(precision.state)
        return x if scale == 1.0 else x * scale

    return embed


def attention(module: Any, config: Any, rotary: Rotary | None, **odd: Any) -> Attention:
    """Attention with four projections named as Llama's; ``odd`` are further fields of it."""
    return Attention(
        query=Projection(module.q_proj),
        key=Projection(module.k_proj),
        value=Projection(module.v_proj),
        output=Projection(module.o_proj),
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=module.head_dim,
        scale=module.scaling,
        rotary=rotary,
        **odd,
    )


def gated_mlp(module: Any, activation: str) -> MLP:
    """Gated MLP with three projections named as Llama's."""
    return MLP(
        gate=Projection(module.gate_proj),
        up=Projection(module.up_proj),
        down=Projection(module.down_proj),
        activation=activation_name(activation),
    )
