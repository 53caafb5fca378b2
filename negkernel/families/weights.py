"""The dense [out, in] matrix behind a linear module, whatever stores it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# How bitsandbytes lays out a 4-bit matrix for AVX512-BF16: blocks of outputs, one after another.
_PACKED_OUTPUTS = 32


def _storage(module: Any) -> str | None:
    """Name how ``module`` keeps its matrix; None for anything but a known linear layer.

    Exact types, not ``isinstance``: an adapter layer that subclasses a linear one computes
    something else.
    """
    cls = type(module)
    if cls is nn.Linear:
        return "dense"
    if cls.__module__.startswith("transformers."):
        # Falcon's linear layer only adds its bias in a step of its own.
        return {"Conv1D": "transposed", "FalconLinear": "dense"}.get(cls.__name__)
    if cls.__module__.startswith("bitsandbytes.") and cls.__name__ in (
        "Linear4bit",
        "Linear8bitLt",
    ):
        return cls.__name__
    return None


def why_not_dense(module: Any) -> str | None:
    """Return why :func:`dense_weight` cannot serve ``module``, or None if it can."""
    if _storage(module) is None:
        return f"{type(module).__name__} is not a plain linear layer"
    return None


def dense_weight(module: Any) -> Tensor:
    """Return ``W`` [out, in] with ``module(x) = W x + b``.

    A view of the parameter for ``nn.Linear`` and ``Conv1D``. bitsandbytes layers are dequantized
    afresh at each call: one matrix at a time is held, never the model. Their 4-bit layers are
    weight-only, so the dequantized matrix is exactly the map they apply, but for the input that a
    bfloat16 kernel rounds; 8-bit layers round their input too, which the matrix leaves out.

    Raises
    ------
    NotImplementedError
        For a module type with no known dense form.
    """
    storage = _storage(module)
    weight = module.weight
    if storage == "dense":
        return weight.detach()
    if storage == "transposed":
        return weight.detach().t()
    if storage == "Linear4bit":
        if getattr(weight.quant_state, "packing_format_for_cpu", False):
            return _unpacked(weight.data, weight.quant_state)
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)
    if storage == "Linear8bitLt":
        if weight.dtype.is_floating_point:  # bitsandbytes quantizes on the first move or use
            return weight.detach()
        scale = weight.SCB if weight.SCB is not None else module.state.SCB
        return weight.data.float() * (scale[:, None] / 127.0)
    raise NotImplementedError(
        f"{type(module).__name__} is not a linear layer that negkernel can read; expected "
        "nn.Linear, Conv1D or a bitsandbytes layer. Use method='suffix', which runs the model's "
        "own modules."
    )


def _unpacked(weight: Tensor, state: Any) -> Tensor:
    """Dequantize a matrix that bitsandbytes has repacked for AVX512-BF16: [out, in] float32.

    It does so in place at a layer's first forward on such a CPU, rounds the scale of each block of
    inputs to bfloat16, and no longer dequantizes the result itself. A byte holds output j of its
    block in the low and output j + 16 in the high half, for inputs in pairs.
    """
    out, inner = state.shape
    halves = weight.reshape(-1, _PACKED_OUTPUTS)
    code = torch.cat([halves & 15, halves >> 4], dim=1)
    code = code.view(out // _PACKED_OUTPUTS, inner // 2, _PACKED_OUTPUTS, 2)
    code = code.transpose(1, 2).reshape(out, inner)
    scale = state.absmax.t().float().repeat_interleave(state.blocksize, dim=1)
    return state.code[code.long()] * scale


def dense_shape(module: Any) -> tuple[int, int]:
    """Return (out, in) of :func:`dense_weight` without computing it."""
    if _storage(module) == "transposed":
        inner, out = module.weight.shape
        return int(out), int(inner)
    return int(module.out_features), int(module.in_features)
