"""Put the results of shards together again."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from negkernel.results.base import Result
from negkernel.results.shards import Shard

R = TypeVar("R", bound=Result)

_LISTS = ("prompts", "targets", "prompt_tokens", "positions", "target_tokens")


def join(shards: Sequence[Shard], results: Iterable[R]) -> R:
    """Join results along neurons or layers, and along prompts.

    Parameters
    ----------
    shards : list of Shard
        Prompts outermost, as :func:`negkernel.results.shards.split` makes them.
    results : iterable of Result
        One for each shard; each is let go before the next one is taken.

    Returns
    -------
    Result
        What one call on all prompts and neurons would have returned.
    """
    if len(shards) == 1:
        (whole,) = results
        return whole
    joined: dict[str, Any] = {}
    (last,) = deque(_filled(joined, shards, results), maxlen=1)
    joined |= {f.name: f.default for f in fields(last) if not f.metadata.get("kept", True)}
    return replace(last, **joined)


def join_prompts(results: Sequence[R]) -> R:
    """Join results of consecutive prompts: what one call on all of them would have returned."""
    ends = np.cumsum([0, *(len(result.prompts) for result in results)]).tolist()
    return join([Shard(prompts) for prompts in pairwise(ends)], results)


def join_field(name: str, shards: Sequence[Shard], results: Iterable[R]) -> Any:
    """Join one array, or the number of rows, as :func:`join` joins all."""
    joined: dict[str, Any] = {}
    deque(_filled(joined, shards, results, only=(name,)), maxlen=0)
    return joined[name]


def _filled(
    joined: dict[str, Any],
    shards: Sequence[Shard],
    results: Iterable[R],
    only: Collection[str] | None = None,
) -> Iterator[R]:
    """Put each result's fields, or ``only`` some, into ``joined``, then yield it."""
    places = _Places(shards)
    for shard, result in zip(shards, results, strict=True):
        wanted = {field.name for field in fields(result)} if only is None else only
        for name, axes in _axes_of(result).items():
            if name in wanted:
                array = getattr(result, name)
                if name not in joined:
                    joined[name] = places.empty(array, axes)
                joined[name][places.of(shard, axes)] = array
        if "rows" in wanted:
            joined["rows"] = joined.get("rows", 0) + getattr(result, "rows", 0)
        if all(ends[0] == 0 for ends in _inner(shard).values()):
            for name in _LISTS:
                if name in wanted and (own := getattr(result, name)) is not None:
                    joined.setdefault(name, []).extend(own)
        yield result


class _Places:
    """Where each shard's part of an array lies in the whole: some prompts may be left out."""

    def __init__(self, shards: Sequence[Shard]):
        self._prompts: dict[tuple[int, int], slice] = {}
        total = 0
        for p, q in dict.fromkeys(shard.prompts for shard in shards):
            self._prompts[p, q] = slice(total, total + q - p)
            total += q - p
        self._sizes = {"P": total}
        for shard in shards:
            for axis, (_, last) in _inner(shard).items():
                self._sizes[axis] = max(self._sizes.get(axis, 0), last)

    def empty(self, array: np.ndarray, axes: str) -> np.ndarray:
        sizes = zip(axes, array.shape, strict=True)
        return np.empty([self._sizes.get(axis, size) for axis, size in sizes], array.dtype)

    def of(self, shard: Shard, axes: str) -> tuple[slice, ...]:
        own = {axis: slice(*ends) for axis, ends in _inner(shard).items()}
        own["P"] = self._prompts[shard.prompts]
        return tuple(own.get(axis, slice(None)) for axis in axes)


def _inner(shard: Shard) -> dict[str, tuple[int, int]]:
    """What a shard has of each prompt, by the axis that it cuts."""
    own = {"N": shard.neurons, "L": shard.layers}
    return {axis: ends for axis, ends in own.items() if ends is not None}


def _axes_of(result: Result) -> dict[str, str]:
    """Axes of each array of a result, without K where it has none."""
    axes = {"target_ids": "PK", **result.array_axes()}
    if result.target_ids.ndim == 2:
        return axes
    return {name: own.replace("K", "") for name, own in axes.items()}
