"""Sweeps in TransformerLens 4: a hook on a bridge, plain and over a prefix cache."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.asked import moved
from bench.opponents.peers.prefix import copies, prefix_cache


def bridged(model: Any, tokenizer: Any) -> Any:
    """Return the bridge around a model."""
    bridges = import_module("transformer_lens.model_bridge")
    return bridges.TransformerBridge.boot_transformers(
        f"local/{model.config.model_type}", hf_model=model, tokenizer=tokenizer
    )


class Plain:
    """Whole forwards of a batch."""

    batch = 50

    def __init__(self, model: Any, tokenizer: Any):
        self.bridge = bridged(model, tokenizer)

    def begin(self, tokens: list[int]) -> Any:
        """A batch has the prompt once a row."""
        return torch.tensor([tokens]), None

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        row, (tokens, cache) = torch.arange(len(neurons)), shared

        def move(up: Tensor, hook: Any) -> Tensor:
            up[row, -1, neurons] = moved(up[row, -1, neurons], amounts)
            return up

        past = {} if cache is None else {"past_key_values": copies(cache, len(row))}
        logits = self.bridge.run_with_hooks(
            tokens.expand(len(row), -1),
            fwd_hooks=[(f"blocks.{layer}.mlp.hook_pre_linear", move)],
            logits_to_keep=1,
            **past,
        )
        return logits[:, -1].log_softmax(-1)[:, target]


class Prefix(Plain):
    """Rows are a token each, over copies of a prefix cache."""

    batch = 100

    def __init__(self, model: Any, tokenizer: Any):
        self.bridge = bridged(model, tokenizer)

    def begin(self, tokens: list[int]) -> Any:
        """Cache of the prompt but its last token."""
        cache, last = prefix_cache(self.bridge.original_model, tokens)
        return last, cache
