"""Count the FLOPs of what the engine computes, from a model's sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Sizes:
    """What the price depends on: layers, hidden size, vocabulary, neurons, weights of a layer.

    ``itemsize`` is the bytes of a number of a result.
    """

    L: int
    H: int
    V: int
    I: int
    layer_weights: float
    itemsize: int

    @classmethod
    def of(cls, engine: Any) -> Sizes:
        """Read the sizes off an engine's model."""
        config = engine.model.config.get_text_config()
        ends = {
            id(module.weight)
            for module in (
                engine.model.get_input_embeddings(),
                engine.model.get_output_embeddings(),
            )
            if module is not None
        }
        inner = sum(
            p.numel() for p in engine.model.parameters() if p.ndim > 1 and id(p) not in ends
        )
        return cls(
            L=engine.n_layers,
            H=config.hidden_size,
            V=config.vocab_size,
            I=engine.n_neurons,
            layer_weights=inner / engine.n_layers,
            itemsize=8 if engine.model.dtype == torch.float64 else 4,
        )

    def layers(self, tokens: float, seen: float) -> float:
        """FLOPs of one layer for `tokens` positions that see `seen` others each."""
        return tokens * (2 * self.layer_weights + 4 * seen * self.H)

    @property
    def head(self) -> float:
        """FLOPs of one position's logits."""
        return 2.0 * self.H * self.V

    def prefill(self, S: float) -> float:
        """FLOPs of a prompt of S tokens with the logits of one position."""
        return self.L * self.layers(S, S / 2) + self.head

    def row(self, S: float, carried: int, layer: np.ndarray, method: str) -> np.ndarray:
        """FLOPs of one shifted forward that enters at `layer` [...] and reaches some positions."""
        if method == "full":
            return np.full(layer.shape, self.prefill(S))
        above = (
            self.L - 1 - layer if method in ("delta", "generic") else np.full(layer.shape, self.L)
        )
        return above * self.layers(carried, S) + self.head

    def gradient(self, S: float, carried: int, K: int, method: str) -> float:
        """FLOPs of a prompt's gradients for K targets."""
        if method == "delta":
            return self.prefill(S) + K * (self.L * self.layers(carried, S) + self.head)
        return self.prefill(S) * (1 + 2 * K)
