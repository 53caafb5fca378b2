"""Keep the keys and values of all tokens but a prompt's last, for rows of one token."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


def prefix_cache(model: Any, tokens: list[int]) -> tuple[DynamicCache, Tensor]:
    """Cache of the prompt without its last token, and that token [1, 1]."""
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model.model(torch.tensor([tokens[:-1]]), past_key_values=cache, use_cache=True)
    return cache, torch.tensor([tokens[-1:]])


def copies(cache: DynamicCache, rows: int, first: int = 0) -> DynamicCache:
    """Return the cache for a batch, which grows by a token: of layers from ``first`` on."""
    new = copy.deepcopy(cache)
    for layer in new.layers[first:]:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return new
