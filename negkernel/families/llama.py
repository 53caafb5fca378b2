"""Llama and its siblings: pre-norm RMSNorm, RoPE, GQA, a gated MLP.

Mistral adds a sliding window, Qwen2 biases on q, k and v, Qwen3 norms of each head's query and
key. All of that is read off the modules, so one description serves the four.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from negkernel.families.activations import activation_name
from negkernel.families.parts import MLP, Attention, Block, Decoder, Norm, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("llama", "mistral", "qwen2", "qwen3")
def describe(model: Any, precision: Precision) -> Decoder:
    """Describe a ``LlamaForCausalLM``-shaped model."""
    config, body = model.config, model.model
    rotary = Rotary(body.rotary_emb, config)

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        return body.embed_tokens(ids).to(precision.state)

    return Decoder(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embed,
        final_norm=rms(body.norm),
        head=Projection(model.lm_head),
    )


def rms(module: Any, offset: float = 0.0) -> Norm:
    """Describe a transformers RMSNorm, whichever name it gives its epsilon."""
    eps = getattr(module, "variance_epsilon", None)
    return Norm(module, eps if eps is not None else module.eps, offset=offset)


def head_norm(attention: Any, name: str) -> Norm | None:
    """Describe the norm of each head's query or key, None where the family has none."""
    module = getattr(attention, name, None)
    return None if module is None else rms(module)


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    # Mistral keeps the window in the config, the Qwens on each layer that slides.
    window = getattr(attention, "sliding_window", None)
    if config.model_type == "mistral":
        window = config.sliding_window
    return Block(
        attention=Attention(
            query=Projection(attention.q_proj),
            key=Projection(attention.k_proj),
            value=Projection(attention.v_proj),
            output=Projection(attention.o_proj),
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_key_value_heads,
            head_dim=attention.head_dim,
            scale=attention.scaling,
            rotary=rotary,
            query_norm=head_norm(attention, "q_norm"),
            key_norm=head_norm(attention, "k_norm"),
            window=window,
        ),
        mlp=MLP(
            gate=Projection(mlp.gate_proj),
            up=Projection(mlp.up_proj),
            down=Projection(mlp.down_proj),
            activation=activation_name(config.hidden_act),
        ),
        attention_in=rms(layer.input_layernorm),
        mlp_in=rms(layer.post_attention_layernorm),
    )
