"""The dense [out, in] matrix behind a linear module, whatever stores it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

# Whose functions do what the weights and the config say, but for the surroundings.
_FUNCTIONS = ("transformers.", "torch.", "bitsandbytes.", "peft.", "negkernel.")
# Classes of weights that are the numbers of a matrix and nothing else.
WHOLE: tuple[type, ...] = (Tensor, nn.Parameter)
# How bitsandbytes lays out a 4-bit matrix for AVX512-BF16: blocks of outputs, one after another.
_PACKED_OUTPUTS = 32


def storage(module: Any) -> str | None:
    """Name how ``module`` keeps its matrix; None for anything but a known linear layer.

    Exact types, not ``isinstance``: a layer that subclasses a linear one computes something else.
    """
    cls = type(module)
    if not isinstance(module, nn.Module):
        return "measured"  # see :mod:`negkernel.families.measured`
    if not runs_as_written(module):
        return None
    if cls is nn.Linear:
        kept = type(module.weight)  # a tensor of its own kind is quantized, or in pieces
        plain = kept in WHOLE or kept.__module__.startswith("torch.distributed.")
        return "dense" if plain else None
    if cls.__mro__[1] is nn.Linear and is_parametrized(module):
        return "dense"
    if cls.__module__.startswith("transformers."):
        # Falcon's linear layer only adds its bias in a step of its own.
        return {"Conv1D": "transposed", "FalconLinear": "dense"}.get(cls.__name__)
    if cls.__module__.startswith("bitsandbytes.") and cls.__name__ in (
        "Linear4bit",
        "Linear8bitLt",
    ):
        return cls.__name__
    if cls.__module__.startswith("peft.tuners.lora.") and cls.__name__.startswith("Linear"):
        return "LoRA" if _is_low_rank(module) else None
    return None


def runs_as_written(module: Any) -> bool:
    """Whether a module runs a library's forward and nothing that computes weights before it."""
    forward = vars(module).get("forward")
    if hasattr(module, "_hf_hook"):  # accelerate's, around the forward that was there
        forward = vars(module).get("_old_forward")
        forward = None if getattr(forward, "__func__", None) is type(module).forward else forward
    computed = any(map(computes_weights, module._forward_pre_hooks.values()))
    known = forward is None or (written_by_library(forward) and _written_where_it_says(forward))
    return known and not computed and written_by_library(type(module).forward)


def written_by_library(function: Any) -> bool:
    """Whether a function does what the weights and the config say, but for its surroundings."""
    return str(getattr(function, "__module__", None) or "").startswith(_FUNCTIONS)


def _written_where_it_says(function: Any) -> bool:
    """Whether a function is of its ``__module__``, which functools.wraps copies from another."""
    function = getattr(function, "__func__", function)
    home = getattr(function, "__globals__", {}).get("__name__")
    return home is None or home.startswith(_FUNCTIONS)


def computes_weights(hook: Any) -> bool:
    """Whether a hook is torch's own that makes a weight of other parameters (weight norm)."""
    return type(hook).__module__.startswith("torch.nn.utils.")


def is_linear_like(module: Any) -> bool:
    """Whether a module says that it takes vectors of one size to vectors of another."""
    sizes = [getattr(module, name, None) for name in ("in_features", "out_features")]
    return all(isinstance(size, int) for size in sizes) or storage(module) is not None


def _is_low_rank(module: Any) -> bool:
    """Whether a layer of PEFT adds products of two matrices to one that is known, and no more."""
    for kind in ("use_dora", "lora_variant", "lora_bias"):
        if any(getattr(module, kind, {}).get(name) for name in module.active_adapters):
            return False
    return storage(module.base_layer) is not None


def dense_weight(module: Any) -> Tensor:
    """Return ``W`` [out, in] with ``module(x) = W x + b``.

    A view of the parameter for ``nn.Linear`` and ``Conv1D``. bitsandbytes layers are dequantized
    afresh at each call: one matrix at a time is held, never the model. Their 4-bit layers are
    weight-only, so the dequantized matrix is exactly the map they apply, but for the input that a
    bfloat16 kernel rounds; 8-bit layers round their input too, which the matrix leaves out.

    LoRA adds its products to the matrix below them, unless they are merged or switched off.

    Raises
    ------
    NotImplementedError
        For a module type with no known dense form.
    """
    kept = storage(module)
    weight: Any = getattr(module, "weight", None)
    if kept in ("dense", "measured"):
        return weight.detach()
    if kept == "transposed":
        return weight.detach().t()
    if kept == "Linear4bit":
        return _four_bits(module, weight)
    if kept == "Linear8bitLt":
        if weight.dtype.is_floating_point:  # bitsandbytes quantizes on the first move or use
            return weight.detach()
        scale = weight.SCB if weight.SCB is not None else module.state.SCB
        return weight.data.float() * (scale[:, None] / 127.0)
    if kept == "LoRA":
        return _with_adapters(module)
    raise NotImplementedError(
        f"{type(module).__name__} is not a linear layer that negkernel can read; expected "
        "nn.Linear, Conv1D or a bitsandbytes layer. Use method='suffix', which runs the model's "
        "own modules."
    )


@torch.no_grad()
def _with_adapters(module: Any) -> Tensor:
    """``W + sum of scale B A`` over the active adapters."""
    weight = dense_weight(module.base_layer)
    if module.disable_adapters or module.merged:
        return weight
    for name in module.active_adapters:
        if name in module.lora_A:
            kind = torch.promote_types(weight.dtype, torch.float32)
            down, up = (part[name].weight.to(kind) for part in (module.lora_A, module.lora_B))
            weight = torch.add(weight.to(kind), up @ down, alpha=module.scaling[name])
    return weight


def _four_bits(module: Any, weight: Any) -> Tensor:
    """Dequantize a 4-bit matrix of bitsandbytes, the same before and after it is repacked."""
    from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise

    state = weight.quant_state
    if getattr(state, "packing_format_for_cpu", False):
        return _unpacked(weight.data, state)
    repacks = getattr(module, "support_avx512bf16_for_cpu", False) and not weight.is_cuda
    if not repacks or state.shape[1] % state.blocksize or state.shape[0] % _PACKED_OUTPUTS:
        return dequantize_4bit(weight.data, state)
    scale = state.absmax
    if state.nested:
        scale = dequantize_blockwise(scale, state.state2) + state.offset
    halves = weight.data.view(torch.uint8).reshape(-1)
    code = torch.stack([halves >> 4, halves & 15], dim=1).view(*state.shape)
    return _scaled(code, scale.view(len(code), -1).to(torch.bfloat16), state)


def _scaled(code: Tensor, scale: Tensor, state: Any) -> Tensor:
    """Numbers [out, in] of 4-bit codes, with a scale for each block of inputs."""
    return state.code[code.long()] * scale.float().repeat_interleave(state.blocksize, dim=1)


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
    return _scaled(code, state.absmax.t(), state)


def dense_shape(module: Any) -> tuple[int, int]:
    """Return (out, in) of :func:`dense_weight` without computing it."""
    if storage(module) == "transposed":
        inner, out = module.weight.shape
        return int(out), int(inner)
    return int(module.out_features), int(module.in_features)
