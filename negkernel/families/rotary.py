"""Rotary positions, taken from the model's own module without leaving a trace in it."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Angles(Protocol):
    """What an attention layer needs to know of its RoPE."""

    def length_key(self, length: int) -> int:
        """Equal for prompt lengths that share their frequencies."""
        ...

    def __call__(self, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Cos and sin [T, d] at ``positions`` [T] of a prompt of ``length`` tokens."""
        ...


class Rotary:
    """cos and sin of a Hugging Face rotary module, in float32, for one prompt length at a time.

    Dynamic and longrope modules choose their frequencies from the longest position of a batch and
    remember the choice in their buffers. So that a prompt gets the numbers it would get alone, and
    the user's module stays as it is, such modules are copied for each call.

    Parameters
    ----------
    module : nn.Module
        ``forward(x, position_ids) -> (cos, sin)``, dtype and device taken from ``x``.
    config : transformers.PretrainedConfig
        Read for the lengths at which the frequencies change.
    options : dict, optional
        Further keyword arguments of the module, such as ``layer_type``.
    """

    def __init__(self, module: nn.Module, config: Any, options: dict[str, Any] | None = None):
        self.module = module
        self.options = options or {}
        parameters = getattr(config, "rope_parameters", None) or {}
        if "layer_type" in self.options:
            parameters = parameters.get(self.options["layer_type"], parameters)
        self.kind = parameters.get("rope_type", "default")
        self.threshold = parameters.get(
            "original_max_position_embeddings", config.max_position_embeddings
        )

    def length_key(self, length: int) -> int:
        """Equal for prompt lengths that share their frequencies."""
        if self.kind == "longrope":
            return int(length > self.threshold)
        if "dynamic" in self.kind:
            return length if length > self.threshold else 0
        return 0

    @torch.no_grad()
    def __call__(self, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Cos and sin [T, D] in float32 at ``positions`` [T] of a prompt of ``length`` tokens."""
        module = self.module
        # The last position of the prompt rides along: it is what the module decides by.
        positions = torch.cat([positions, positions.new_tensor([length - 1])])
        if self.kind == "longrope" or "dynamic" in self.kind:
            module = copy.deepcopy(module)
        x = torch.empty(0, dtype=torch.float32, device=positions.device)
        cos, sin = module(x, position_ids=positions[None], **self.options)
        return cos[0, :-1], sin[0, :-1]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate heads ``x`` [T, n, D] by ``cos``, ``sin`` [T, d], d <= D (the rest passes through)."""
    return _rotate(x, cos, sin, direction=1)


def rotate_back(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the transpose of :func:`rotate`: ``<rotate(q), k> == <q, rotate_back(k)>``."""
    return _rotate(x, cos, sin, direction=-1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    width = cos.shape[-1]
    half = width // 2
    cos = cos.to(x.dtype)[:, None, :]
    sin = sin.to(x.dtype)[:, None, :] * direction
    first, second = x[..., :half], x[..., half:width]
    out = torch.empty_like(x)
    if direction == 1:
        out[..., :half] = first * cos[..., :half] - second * sin[..., :half]
        out[..., half:width] = second * cos[..., half:] + first * sin[..., half:]
    else:  # the transpose pairs each output with the other half's sine
        out[..., :half] = first * cos[..., :half] - second * sin[..., half:]
        out[..., half:width] = second * cos[..., half:] + first * sin[..., :half]
    out[..., width:] = x[..., width:]
    return out
