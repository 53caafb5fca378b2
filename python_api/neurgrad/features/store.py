"""Collected features of one split: a folder with a manifest and a file a batch of prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negkernel.results.ledger import Ledger
from negkernel.results.manifest import LedgerError, Manifest
from neurgrad.features.packed import OrderStore, PackedScores, join
from neurgrad.features.selected import select
from neurgrad.features.shards import map_tensor, read_scores, read_tensor

KIND = "features"

_BATCH = re.compile(r"prompts-(\d{1,12})-(\d{1,12})")


class FeatureStore:
    """Features on disk, as the probes read them: an `OrderStore` with its gold labels.

    Parameters
    ----------
    folder : path
        What `collect` has filled.

    Attributes
    ----------
    identity : dict
        Digests of the model and of the prompts, the site, and the sizes.

    Raises
    ------
    ValueError
        There is no manifest, it is not one that this version reads, the collection is not
        complete, or a file was altered.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._manifest = Manifest.read(self.folder)
        self.identity: dict[str, Any] = self._manifest.asked
        self._shards = _rows_of(self._manifest, self.folder)
        self.verify()

    @property
    def n_prompts(self) -> int:
        """Q."""
        return int(self.identity["n_prompts"])

    @property
    def n_labels(self) -> int:
        """K."""
        return int(self.identity["n_labels"])

    @property
    def n_neurons(self) -> int:
        """N, over all layers."""
        return sum(self.identity["widths"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, K, N)."""
        return (self.n_prompts, self.n_labels, self.n_neurons)

    def __len__(self) -> int:
        return self.n_prompts

    def __getitem__(self, rows: Any) -> OrderStore:
        """Return the chosen prompts, as :func:`neurgrad.features.selected.select` does."""
        return select(self, rows)

    @cached_property
    def gold(self) -> NDArray[np.int64]:
        """Gold label of each prompt [Q]."""
        return np.concatenate([read_tensor(path, "gold") for path in self._paths()])

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """The model's probability of each label's token [Q, K]."""
        return np.concatenate([read_tensor(path, "probability") for path in self._paths()])

    def activation(self) -> NDArray[np.float32]:
        """Activations [Q, N], 4 bytes each.

        Raises
        ------
        ValueError
            They were not collected.
        """
        if not self.identity["activations"]:
            raise ValueError(
                f"{self.folder} holds no activations; collect with activations=True for ActProbe"
            )
        return np.concatenate([map_tensor(path, "activation") for path in self._paths()])

    def blocks(self) -> Iterator[tuple[slice, PackedScores]]:
        """Blocks of consecutive prompts that cover the store once, each with its rows."""
        for name, rows in self._shards.items():
            yield rows, read_scores(self.folder / f"{name}.safetensors", self.n_labels)

    def load(self) -> PackedScores:
        """All score orders in memory, one byte (two for K > 4) a prompt and neuron."""
        return join([block for _, block in self.blocks()])

    def verify(self) -> None:
        """Read every file and compare its checksum with what was written, as opening does.

        Raises
        ------
        ValueError
            A file is missing or was altered.
        """
        missing = Ledger(self.folder, self._manifest).missing()
        if missing:
            lost = sum(self._shards[name].stop - self._shards[name].start for name in missing)
            raise ValueError(
                f"{self.folder} holds {self.n_prompts - lost} of {self.n_prompts} prompts: "
                f"{missing[0]} is missing or was altered; collect the same prompts into it again "
                "to complete it"
            )

    def _paths(self) -> list[Path]:
        return [self.folder / f"{name}.safetensors" for name in self._shards]

    def __repr__(self) -> str:
        Q, K, N = self.shape
        return f"FeatureStore({Q} prompts x {K} labels x {N} neurons, {str(self.folder)!r})"


def shard_name(rows: slice) -> str:
    """What the batch of the prompts ``rows`` is called."""
    return f"prompts-{rows.start}-{rows.stop}"


def _rows_of(manifest: Manifest, folder: Path) -> dict[str, slice]:
    """Prompts of each batch, which have to cover all of them once and in order."""
    said, parts = manifest.asked, manifest.parts or []
    sizes = [said.get("n_prompts"), said.get("n_labels"), *(said.get("widths") or [None])]
    proper = manifest.kind == KIND and all(type(size) is int and size > 0 for size in sizes)
    found = [_BATCH.fullmatch(part) for part in parts]
    ends = [(int(m[1]), int(m[2])) for m in found if m is not None]
    starts = [0, *(stop for _, stop in ends)]
    if not (
        proper
        and len(ends) == len(parts)
        and all(start == first < stop for (start, stop), first in zip(ends, starts, strict=False))
        and starts[-1] == said["n_prompts"]
    ):
        raise LedgerError(f"{folder} holds no features of prompts, or a manifest that was altered")
    return {part: slice(*rows) for part, rows in zip(parts, ends, strict=True)}
