"""Count the FLOPs and bytes of what the engine computes, from a model's sizes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from negkernel.delta.prefix_tree import common_prefix
from negkernel.methods.base import Method
from negkernel.request.prompts import Request


@dataclass(frozen=True)
class Sizes:
    """What the price depends on.

    Attributes
    ----------
    L, H, V, I : int
        Layers, hidden size, vocabulary, neurons.
    heads : int
        Width of all heads' queries together.
    layer_weights : float
        Numbers in a layer's matrices, whatever they are packed into.
    weight_bytes : int
        Bytes of all layers and of the head, as they lie.
    itemsize : int
        Bytes of a number of a result.
    """

    L: int
    H: int
    V: int
    I: int
    heads: int
    layer_weights: float
    weight_bytes: int
    itemsize: int

    @classmethod
    def of(cls, engine: Any) -> Sizes:
        """Read the sizes off an engine's model."""
        model, config = engine.model, engine.model.config.get_text_config()
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        ends = {id(module.weight) for module in (embedding, head) if module is not None}
        inner = sum(_numbers(module, ends) for module in model.modules())
        read = {id(p): p.numel() * p.element_size() for p in model.parameters()}
        if head is None or head.weight is not embedding.weight:
            read.pop(id(embedding.weight), None)
        n_heads = getattr(config, "num_attention_heads", 1)
        wide = n_heads * (getattr(config, "head_dim", None) or config.hidden_size // n_heads)
        return cls(
            L=engine.n_layers,
            H=config.hidden_size,
            V=config.vocab_size,
            I=engine.n_neurons,
            heads=wide,
            layer_weights=inner / engine.n_layers,
            weight_bytes=sum(read.values()),
            itemsize=8 if model.dtype == torch.float64 else 4,
        )

    def layers(self, tokens: float, seen: float) -> float:
        """FLOPs of one layer for `tokens` positions that see `seen` others each."""
        return tokens * (2 * self.layer_weights + 4 * seen * self.heads)

    @property
    def head(self) -> float:
        """FLOPs of one position's logits."""
        return 2.0 * self.H * self.V

    def prefill(self, S: float, own: float | None = None) -> float:
        """FLOPs of the last `own` tokens, by default all, of S, with the logits of one."""
        own = S if own is None else own
        return self.L * self.layers(own, S - own / 2) + self.head

    def row(self, S: float, carried: int, layer: np.ndarray, method: str) -> np.ndarray:
        """FLOPs of one shifted forward that enters at `layer` [...] and reaches some positions."""
        if method == "full":
            return np.full(layer.shape, self.prefill(S))
        above = (
            self.L - 1 - layer if method in ("delta", "generic") else np.full(layer.shape, self.L)
        )
        return above * self.layers(carried, S) + self.head

    def gradient(self, S: float, carried: int, K: int, method: str) -> float:
        """FLOPs of a prompt's gradients for K targets, beside its prefill."""
        if method == "delta":
            return K * (self.L * self.layers(carried, S) + self.head)
        return self.prefill(S) * 2 * K


def prefills(sizes: Sizes, request: Request, runner: Method, task: str) -> np.ndarray:
    """FLOPs of each prompt's prefill [P]: a beginning that prompts share is computed once."""
    lengths = [len(tokens) for tokens in request.tokens]
    if runner.name != "delta" or task == "masked":
        return np.array([sizes.prefill(length) for length in lengths])
    found = np.empty(len(request))
    for first, last in runner.groups(request):
        own = fresh_tokens(request.tokens[first:last])
        pairs = zip(lengths[first:last], own, strict=True)
        found[first:last] = [sizes.prefill(length, new) for length, new in pairs]
    return found


def fresh_tokens(prompts: Sequence[Sequence[int]]) -> list[int]:
    """How many tokens each prompt adds to those before it in alphabetical order."""
    own, before = [0] * len(prompts), np.empty(0, np.int64)
    for p in sorted(range(len(prompts)), key=lambda p: list(prompts[p])):
        tokens = np.asarray(prompts[p], np.int64)
        own[p] = len(tokens) - common_prefix(before, tokens)
        before = tokens
    return own


def on_devices(model: nn.Module) -> dict[str, int]:
    """Bytes of weights on each device; what is fetched when it is needed is on "elsewhere"."""
    found: dict[str, int] = {}
    for weight in (*model.parameters(), *model.buffers()):
        place = "elsewhere" if weight.device.type == "meta" else str(weight.device)
        found[place] = found.get(place, 0) + weight.numel() * weight.element_size()
    return found


def _numbers(module: nn.Module, ends: set[int]) -> int:
    """Numbers in the matrices that are a module's own, but the embedding and the head."""
    own = [p for p in module.parameters(recurse=False) if p.ndim > 1 or _packed(module, p)]
    if any(id(p) in ends for p in own):
        return 0
    if own and isinstance(getattr(module, "in_features", None), int):
        return int(module.in_features) * int(module.out_features)  # type: ignore[arg-type]
    return sum(p.numel() for p in own)


def _packed(module: nn.Module, weight: nn.Parameter) -> bool:
    """Whether a module keeps its matrix as a list of numbers."""
    return weight is getattr(module, "weight", None) and hasattr(module, "in_features")
