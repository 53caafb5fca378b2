"""A Hugging Face model in true float64: the oracle that the delta forward is held against."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

_ATTENTION = "negkernel_exact_float64"


@contextmanager
def exact_float64(model: Any) -> Iterator[Any]:
    """Make ``model`` compute in float64 throughout, for the duration.

    transformers computes many norms and the eager softmax in float32 whatever the model's dtype,
    which puts 1e-6 of noise into an oracle that is to be compared at 1e-9. Norms are replaced
    instance by instance and the attention function is switched; both are put back on leaving. The
    angles of RoPE stay the float32 numbers that the model defines, but ModernBERT's rounding of
    queries and keys as it rotates them goes too.
    """
    assert next(model.parameters()).dtype == torch.float64, "convert with model.double() first"
    implementation = model.config._attn_implementation
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, eager_mask)
    patched: list[nn.Module] = []
    casting: list[Any] = []
    code: Any = sys.modules[type(model).__module__]
    rotation = getattr(code, "apply_rotary_pos_emb", None)
    try:
        if model.config.model_type == "modernbert":
            code.apply_rotary_pos_emb = _rotation
        model.config._attn_implementation = _ATTENTION
        for module in model.modules():
            name = type(module).__name__
            if name.endswith("RMSNorm"):
                module.forward = _rms_norm(module)
                patched.append(module)
            elif name == "OlmoLayerNorm":
                module.forward = _plain_layer_norm
                patched.append(module)
            elif name in ("GPTJAttention", "GPTNeoSelfAttention"):
                module._attn = _scores_and_sum(module)
                casting.append(module)
        yield model
    finally:
        model.config._attn_implementation = implementation
        if rotation is not None:
            code.apply_rotary_pos_emb = rotation
        for module in patched:
            del module.forward
        for module in casting:
            del module._attn


def _rotation(
    query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """RoPE in the dtype of its inputs, with the signature that ModernBERT calls."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)

    def rotate(x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-second, first], dim=-1) * sin

    return rotate(query), rotate(key)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention in the dtype of its inputs, with the signature that transformers calls."""
    repeat = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    scaling, softcap = options.get("scaling"), options.get("softcap")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores + attention_mask
    return (scores.softmax(-1) @ value).transpose(1, 2).contiguous(), None


def _scores_and_sum(module: Any) -> Callable[..., tuple[Tensor, None]]:
    """Attention of GPT-J and GPT-Neo, which cast queries and keys to float32."""
    scaling = 1 / getattr(module, "scale_attn", 1.0)

    def attend(
        query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        n, m = query.shape[-2], key.shape[-2]
        if hasattr(module, "bias"):  # GPT-Neo's windows
            lowest = torch.finfo(query.dtype).min
            seen = torch.zeros((), dtype=query.dtype).masked_fill(
                ~module.bias[:, :, m - n : m, :m], lowest
            )
            attention_mask = seen if attention_mask is None else seen + attention_mask
        out, _ = _attention(module, query, key, value, attention_mask, scaling=scaling)
        return out.transpose(1, 2), None

    return attend


def _rms_norm(module: Any) -> Callable[[Tensor], Tensor]:
    eps = getattr(module, "variance_epsilon", None)
    eps = module.eps if eps is None else eps
    offset = 1.0 if type(module).__name__.startswith("Gemma") else 0.0

    def forward(x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * (module.weight + offset)

    return forward


def _plain_layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-5)
