"""Queries, keys and values that share one matrix: which of its outputs are which."""

from __future__ import annotations

import torch
from torch import nn

from negkernel.families.projection import Projection


def stacked(
    module: nn.Module, n_heads: int, n_kv_heads: int, head_dim: int
) -> tuple[Projection, Projection, Projection]:
    """Query, key and value one after the other (GPT-2, Phi-3)."""
    keys, values = n_heads * head_dim, (n_heads + n_kv_heads) * head_dim
    return (
        Projection(module, slice(0, keys)),
        Projection(module, slice(keys, values)),
        Projection(module, slice(values, values + n_kv_heads * head_dim)),
    )


def interleaved(
    module: nn.Module, n_heads: int, n_kv_heads: int, head_dim: int
) -> tuple[Projection, Projection, Projection]:
    """Each key head's queries, then its key, then its value (GPT-NeoX, Falcon)."""
    group = n_heads // n_kv_heads
    rows = torch.arange(n_kv_heads * (group + 2) * head_dim).view(n_kv_heads, group + 2, head_dim)
    return (
        Projection(module, rows[:, :group].flatten()),
        Projection(module, rows[:, group].flatten()),
        Projection(module, rows[:, group + 1].flatten()),
    )
