"""Sweeps in nnsight: a batch in one trace, plain, over a prefix cache, and skipping layers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.asked import moved
from bench.opponents.peers.prefix import copies, prefix_cache


class Plain:
    """Whole forwards of a batch."""

    batch = 50

    def __init__(self, model: Any):
        self.model = import_module("nnsight").NNsight(model)

    def begin(self, tokens: list[int]) -> Any:
        """A batch has the prompt once a row."""
        return torch.tensor([tokens])

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        lm, row = self.model, torch.arange(len(neurons))
        with lm.trace(shared.expand(len(row), -1), use_cache=False, logits_to_keep=1):
            up = lm.model.layers[layer].mlp.up_proj.output
            up[row, -1, neurons] = moved(up[row, -1, neurons], amounts)
            logprob = lm.lm_head.output[:, -1].log_softmax(-1)[:, target].save()
        return logprob


class Prefix:
    """Rows are a token each, over copies of a prefix cache."""

    batch = 100

    def __init__(self, model: Any):
        self.inside = model
        self.model = import_module("nnsight").NNsight(model)

    def begin(self, tokens: list[int]) -> Any:
        """Cache of the prompt but its last token."""
        return prefix_cache(self.inside, tokens)

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        lm, row, (cache, last) = self.model, torch.arange(len(neurons)), shared
        with lm.trace(last.expand(len(row), -1), past_key_values=copies(cache, len(row))):
            up = lm.model.layers[layer].mlp.up_proj.output
            up[row, -1, neurons] = moved(up[row, -1, neurons], amounts)
            logprob = lm.lm_head.output[:, -1].log_softmax(-1)[:, target].save()
        return logprob


class Skip:
    """The same, and layers below the neuron's are skipped: the base's vectors stand for them."""

    batch = 100

    def __init__(self, model: Any):
        self.inside = model
        self.model = import_module("nnsight").NNsight(model)

    def begin(self, tokens: list[int]) -> Any:
        """Cache of the prompt but its last token, and that token's vectors between layers."""
        cache, last = prefix_cache(self.inside, tokens)
        options = {"past_key_values": copies(cache, 1), "output_hidden_states": True}
        return cache, last, self.inside.model(last, **options).hidden_states

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        lm, row, (cache, last, hidden) = self.model, torch.arange(len(neurons)), shared
        past = copies(cache, len(row), layer)
        with lm.trace(last.expand(len(row), -1), past_key_values=past):
            for below in range(layer):
                lm.model.layers[below].skip(hidden[below + 1].expand(len(row), -1, -1))
            up = lm.model.layers[layer].mlp.up_proj.output
            up[row, -1, neurons] = moved(up[row, -1, neurons], amounts)
            logprob = lm.lm_head.output[:, -1].log_softmax(-1)[:, target].save()
        return logprob
