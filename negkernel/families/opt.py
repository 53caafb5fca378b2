"""OPT: learned positions with an offset, ReLU; the 350M model norms after each residual sum.

That model also embeds into fewer dimensions than it computes in, with a projection on either side.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from negkernel.families.activations import activation_name
from negkernel.families.norms import layer_norm
from negkernel.families.parts import MLP, Attention, Block, Description, Precision, Projection
from negkernel.families.registry import register


@register("opt")
def describe(model: Any, precision: Precision) -> Description:
    """Describe an ``OPTForCausalLM``."""
    config, body = model.config, model.model.decoder

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        x = body.embed_tokens(ids).to(precision.state)
        if body.project_in is not None:
            x = Projection(body.project_in, precision=precision).affine(x)
        offset: int = body.embed_positions.offset
        return x + body.embed_positions.weight[positions + offset].to(precision.state)

    return Description(
        blocks=tuple(_block(layer, config) for layer in body.layers),
        embed=embed,
        final_norm=None if body.final_layer_norm is None else layer_norm(body.final_layer_norm),
        projection=None if body.project_out is None else Projection(body.project_out),
        head=Projection(model.lm_head),
    )


def _block(layer: Any, config: Any) -> Block:
    module = layer.self_attn
    before = config.do_layer_norm_before
    norms: dict[str, Any] = {
        "attention_in" if before else "attention_sum": layer_norm(layer.self_attn_layer_norm),
        "mlp_in" if before else "mlp_sum": layer_norm(layer.final_layer_norm),
    }
    return Block(
        attention=Attention(
            query=Projection(module.q_proj),
            key=Projection(module.k_proj),
            value=Projection(module.v_proj),
            output=Projection(module.out_proj),
            n_heads=module.num_heads,
            n_kv_heads=module.num_heads,
            head_dim=module.head_dim,
            scale=module.scaling,
        ),
        mlp=MLP(
            up=Projection(layer.fc1),
            down=Projection(layer.fc2),
            activation=activation_name(config.activation_function),
        ),
        **norms,
    )
