"""Keep a prompt's keys and values, and show them to rows that are never written to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from negkernel.methods.generic.carrier import Carried


class KeptLayer(DynamicLayer):
    """One layer's keys and values [1, heads, S, D] in the state dtype: the base's, all tokens."""

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep the keys and values of all tokens at once."""
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states.base, value_states.base
        return key_states, value_states


class RowLayer(DynamicLayer):
    """The first tokens' keys and values, which rows attend to; their own are handed back alone."""

    def __init__(self, keys: Tensor, values: Tensor):
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Join the prefix and the carried tokens, and keep nothing."""
        return _join(self.keys, key_states), _join(self.values, value_states)


def keeping() -> DynamicCache:
    """Return a cache that keeps the keys and values of one forward of a whole prompt."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = KeptLayer
    return cache


def of_prefix(kept: Sequence[Any], length: int) -> DynamicCache:
    """Return a cache of the first ``length`` tokens for one forward of rows."""
    cache = DynamicCache()
    cache.layers = [
        RowLayer(layer.keys[..., :length, :], layer.values[..., :length, :]) for layer in kept
    ]
    return cache


def _join(prefix: Any, own: Any) -> Carried:
    assert isinstance(prefix, Tensor)
    if own.lead:
        raise NotImplementedError("keys that were joined to a prefix before")
    base = torch.cat([prefix, own.base], dim=-2)
    return Carried(base, own.rows, prefix.shape[-2] if own.rows is not None else 0)
