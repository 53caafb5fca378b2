"""FLOPs and bytes of what the engine computes, from a model's sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.delta.budget import MAX_ROWS


@dataclass(frozen=True)
class Sizes:
    """What the price depends on: layers, hidden size, vocabulary, neurons, weights of a layer.

    ``batch`` is the largest number of rows that run at once.
    """

    L: int
    H: int
    V: int
    I: int
    layer_weights: float
    batch: int

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
            batch=MAX_ROWS.get(engine.model.device.type, MAX_ROWS["cuda"]),
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

    def row(self, S: float, layer: np.ndarray, method: str, task: str) -> np.ndarray:
        """FLOPs of one shifted forward that enters at `layer` [...]."""
        if method == "full":
            return np.full(layer.shape, self.prefill(S))
        above = np.full(layer.shape, self.L) if method == "suffix" else self.L - 1 - layer
        # A masked model passes the shift on to every position.
        return above * self.layers(S if task == "masked" else 1, S) + self.head

    def gradient(self, S: float, K: int, method: str, task: str) -> float:
        """FLOPs of a prompt's gradients for K targets."""
        if method == "delta" and task == "causal":
            return self.prefill(S) + K * (self.L * self.layers(1, S) + self.head)
        return self.prefill(S) * (1 + 2 * K)


def scratch_bytes(sizes: Sizes, lengths: np.ndarray, rows: int, itemsize: int, budget: int) -> int:
    """Memory of one batch of rows and of the traces of all prompts, at most the budget."""
    batch = min(rows, sizes.batch) * (8 * sizes.H + 4 * sizes.I)
    traces = len(lengths) * (sizes.L * (4 * sizes.H + 2 * sizes.I) + 4 * sizes.V)
    kv = int(lengths.sum()) * 2 * sizes.L * sizes.H
    return min(budget, (batch + traces + kv) * itemsize)
