"""The dense [out, in] matrix behind a linear module, whatever stores it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


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
    if module.weight.device.type == "meta":
        return "its weights are offloaded to the meta device"
    return None


def dense_weight(module: Any) -> Tensor:
    """Return ``W`` [out, in] with ``module(x) = W x + b``.

    A view of the parameter for ``nn.Linear`` and ``Conv1D``. bitsandbytes layers are dequantized
    afresh at each call: one matrix at a time is held, never the model. Their 4-bit layers are
    weight-only, so the dequantized matrix is exactly the map they apply; 8-bit layers also round
    their input, which the dequantized matrix leaves out.

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


def dense_shape(module: Any) -> tuple[int, int]:
    """Return (out, in) of :func:`dense_weight` without computing it."""
    if _storage(module) == "transposed":
        inner, out = module.weight.shape
        return int(out), int(inner)
    return int(module.out_features), int(module.in_features)
