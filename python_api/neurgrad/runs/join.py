"""Put the results of shards together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar

import numpy as np

from negkernel import Gradients, Interventions, Sweep
from neurgrad.runs.shards import Shard

R = TypeVar("R", Sweep, Gradients)
P = TypeVar("P", Sweep, Gradients, Interventions)


def join(shards: Sequence[Shard], results: Sequence[R]) -> R:
    """Join results along neurons, then along prompts.

    Parameters
    ----------
    shards : list of Shard
        As :func:`split` made them.
    results : list of Sweep, or list of Gradients
        One for each shard.

    Returns
    -------
    Sweep or Gradients
        What one call on all prompts and neurons would have returned.
    """
    pairs = zip(shards, results, strict=True)
    rows = [
        _along("N", [result for _, result in group])
        for _, group in groupby(pairs, key=lambda pair: pair[0].prompts)
    ]
    return _along("P", rows)


def join_prompts(results: Sequence[P]) -> P:
    """Join results of consecutive prompts: what one call on all of them would have returned."""
    return _along("P", results)


def _along(axis: str, parts: Sequence[P]) -> P:
    first = parts[0]
    if len(parts) == 1:
        return first
    joined: dict[str, Any] = {}
    for name, axes in {"target_ids": "PK", **first.array_axes()}.items():
        if first.target_ids.ndim == 1:
            axes = axes.replace("K", "")
        if axis in axes:
            arrays = [getattr(part, name) for part in parts]
            joined[name] = np.concatenate(arrays, axis=axes.index(axis))
    if axis == "P":
        for name in ("prompts", "targets", "prompt_tokens"):
            joined[name] = [item for part in parts for item in getattr(part, name)]
        if first.positions is not None:
            joined["positions"] = [own for part in parts for own in part.positions or []]
    if isinstance(first, Sweep):
        joined["rows"] = sum(part.rows for part in parts if isinstance(part, Sweep))
    return replace(first, **joined)
