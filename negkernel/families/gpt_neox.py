"""GPT-NeoX and Pythia: RoPE on part of each head, attention and MLP in parallel if asked for."""

from __future__ import annotations

from typing import Any

from negkernel.families.activations import activation_name
from negkernel.families.fused import interleaved
from negkernel.families.llama import embedding
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register
from negkernel.families.rotary import Rotary


@register("gpt_neox")
def describe(model: Any, precision: Precision) -> Description:
    """Describe a ``GPTNeoXForCausalLM``."""
    config, body = model.config, model.gpt_neox
    rotary = Rotary(body.rotary_emb, config)
    return Description(
        blocks=tuple(_block(layer, config, rotary) for layer in body.layers),
        embed=embedding(body.embed_in, precision),
        final_norm=layer_norm(body.final_layer_norm),
        head=Projection(model.get_output_embeddings()),
    )


def _block(layer: Any, config: Any, rotary: Rotary) -> Block:
    module, n_heads = layer.attention, config.num_attention_heads
    query, key, value = interleaved(module.query_key_value, n_heads, n_heads, module.head_size)
    return Block(
        attention=Attention(
            query=query,
            key=key,
            value=value,
            output=Projection(module.dense),
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=module.head_size,
            scale=module.scaling,
            rotary=rotary,
        ),
        mlp=MLP(
            up=Projection(layer.mlp.dense_h_to_4h),
            down=Projection(layer.mlp.dense_4h_to_h),
            activation=activation_name(config.hidden_act),
        ),
        attention_in=layer_norm(layer.input_layernorm),
        mlp_in=layer_norm(layer.post_attention_layernorm),
        parallel=layer.use_parallel_residual,
    )
