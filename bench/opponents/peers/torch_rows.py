"""Sweeps with a torch hook over a prefix cache: in float64 what all are held against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.asked import moved
from bench.opponents.peers.prefix import copies, prefix_cache


class OverPrefix:
    """Rows are a token each, over copies of a prefix cache; the model's own modules."""

    batch = 100

    def __init__(self, model: Any):
        self.model = model

    def begin(self, tokens: list[int]) -> Any:
        """Cache of the prompt but its last token."""
        return prefix_cache(self.model, tokens)

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        row, (cache, last) = torch.arange(len(neurons)), shared

        def move(module: Any, args: Any, up: Tensor) -> Tensor:
            up[row, -1, neurons] = moved(up[row, -1, neurons], amounts)
            return up

        handle = self.model.model.layers[layer].mlp.up_proj.register_forward_hook(move)
        past = copies(cache, len(row))
        try:
            logits = self.model(last.expand(len(row), -1), past_key_values=past).logits
        finally:
            handle.remove()
        return logits[:, -1].log_softmax(-1)[:, target]
