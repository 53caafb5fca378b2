"""Open a folder of kept results: a few prompts at a time, or all as if they were in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np

from negkernel.results.base import Result
from negkernel.results.join import join, join_field
from negkernel.results.ledger import Ledger
from negkernel.results.manifest import LedgerError, Manifest
from negkernel.results.shards import Shard

R = TypeVar("R", bound=Result)


class Portions(Sequence[R], Generic[R]):
    """Results of a few prompts each, in order; a portion is read when it is asked for.

    Parameters
    ----------
    kind : type
        What the portions are: Sweep, Gradients or NegMap.
    folder : Path
        What a call with ``folder=`` has filled.

    Raises
    ------
    ValueError
        It holds something else, or not all portions yet; when one is read, that it was altered.
    """

    def __init__(self, kind: type[R], folder: Path):
        self.kind, self.folder = kind, folder
        manifest = Manifest.read(folder)
        names = manifest.parts or []
        shards = [shard for shard in map(Shard.named, names) if shard is not None]
        if manifest.kind != kind.kept_as or not shards or len(shards) != len(names):
            raise LedgerError(f"{folder} holds {manifest.kind}, not {kind.kept_as or 'portions'}")
        self._ledger = Ledger(folder, manifest)
        lost = [name for name in names if not self._ledger.path(name, ".json").exists()]
        if lost:
            raise LedgerError(
                f"{folder} holds {len(names) - len(lost)} of {len(names)} portions: {lost[0]} is "
                "missing; ask the same again with this folder to complete it"
            )
        self._blocks = [list(own) for _, own in groupby(shards, key=lambda one: one.prompts)]

    def __len__(self) -> int:
        return len(self._blocks)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        """Read a portion, or the portions of a slice."""
        if isinstance(index, slice):
            return [self._read(block) for block in self._blocks[index]]
        return self._read(self._blocks[index])

    def __iter__(self) -> Iterator[R]:
        return map(self._read, self._blocks)

    def whole(self, known: Mapping[str, Any]) -> R:
        """All portions as one result, whose arrays are read when they are first looked at.

        Parameters
        ----------
        known : mapping
            Fields of the whole result that need not be read.
        """
        first = self._load(self._blocks[0][0])
        values = {field.name: getattr(first, field.name) for field in fields(first)}
        shared = {
            name: value
            for name, value in values.items()
            if name != "rows" and not isinstance(value, np.ndarray | list)
        }
        shards = [shard for block in self._blocks for shard in block]

        def read(name: str) -> Any:
            return join_field(name, shards, map(self._load, shards))

        return self.kind.in_folder(self.folder, {**shared, **known}, read)

    def _read(self, block: Sequence[Shard]) -> R:
        return join(block, map(self._load, block))

    def _load(self, shard: Shard) -> R:
        if not self._ledger.whole(shard.name):
            raise LedgerError(
                f"{self._ledger.path(shard.name)} is missing or was altered; ask the same again "
                f"with folder={str(self.folder)!r} to compute it anew"
            )
        return self.kind.load(self._ledger.path(shard.name))

    def __repr__(self) -> str:
        return f"Portions({len(self)} of {self.kind.__name__}, {str(self.folder)!r})"
