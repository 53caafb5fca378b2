"""Forwards with hooks written by hand: heads and directions at the modules of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Where a layer is, and within it the two output projections, in the names of transformers.
MODULES = {
    "llama": ("model.layers.{}", "self_attn.o_proj", "mlp.down_proj"),
    "gptj": ("transformer.h.{}", "attn.out_proj", "mlp.fc_out"),
    "gemma2": ("model.layers.{}", "self_attn.o_proj", "mlp.down_proj"),
    "gpt2": ("transformer.h.{}", "attn.c_proj", "mlp.c_proj"),
    "bert": ("bert.encoder.layer.{}", "attention.output.dense", "output.dense"),
}


@torch.no_grad()
def logprob(model: Any, tokens: Sequence[int], read: int) -> Tensor:
    """Log-probs [V] at one position."""
    logits: Tensor = model(input_ids=torch.tensor([list(tokens)])).logits[0, read]
    return logits.double().log_softmax(-1)


def with_head(
    model: Any, kind: str, layer: int, head: int, n_heads: int, factor: float, at: int
) -> Callable[[], None]:
    """Multiply a head's output at position ``at`` by ``factor``; returns how to take it off."""
    path, output, _ = MODULES[kind]
    module = model.get_submodule(f"{path.format(layer)}.{output}")

    def hook(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = args[0].clone()
        D = x.shape[-1] // n_heads
        x[0, at, head * D : (head + 1) * D] *= factor
        return (x, *args[1:])

    return module.register_forward_pre_hook(hook).remove


def with_vector(
    model: Any, kind: str, layer: int, place: str, vector: Tensor, at: int
) -> Callable[[], None]:
    """Add ``vector`` [H] at position ``at`` of a place; returns how to take it off."""
    path, attention, mlp = MODULES[kind]
    inside = {"residual": "", "attention_out": f".{attention}", "mlp_out": f".{mlp}"}
    module = model.get_submodule(path.format(layer) + inside[place])

    def hook(module: Any, args: Any, out: Any) -> Any:
        x = (out[0] if isinstance(out, tuple) else out).clone()
        x[0, at] += vector
        return (x, *out[1:]) if isinstance(out, tuple) else x

    return module.register_forward_hook(hook).remove
