"""Collected features of one split: a folder with a manifest and a file a batch of prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurgrad.features.packed import PackedScores, join
from neurgrad.features.shards import map_tensor, read_scores, read_tensor
from neurgrad.runs.files import replace_file, sha256

FORMAT, VERSION = "negkernel-features", 2


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
        There is no manifest, it is not one that this version reads, or the collection is not
        complete.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        self.identity: dict[str, Any] = manifest["identity"]
        self._digests: dict[str, str] = manifest["shards"]
        self._shards = {name: _rows(name) for name in sorted(self._digests, key=_start)}
        done = sum(rows.stop - rows.start for rows in self._shards.values())
        if done != self.n_prompts:
            raise ValueError(
                f"{self.folder} holds {done} of {self.n_prompts} prompts; collect the same prompts "
                "into it again to complete it"
            )

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
            yield rows, read_scores(self.folder / name, self.n_labels)

    def load(self) -> PackedScores:
        """All score orders in memory, one byte (two for K > 4) a prompt and neuron."""
        return join([block for _, block in self.blocks()])

    def verify(self) -> None:
        """Read every file and compare its checksum with the manifest's.

        Raises
        ------
        ValueError
            A file is missing or was altered.
        """
        for name, digest in self._digests.items():
            path = self.folder / name
            if not path.is_file() or sha256(path) != digest:
                raise ValueError(
                    f"{path} is missing or was altered; collect the same prompts into "
                    f"{self.folder} again to restore it"
                )

    def _paths(self) -> list[Path]:
        return [self.folder / name for name in self._shards]

    def __repr__(self) -> str:
        Q, K, N = self.shape
        return f"FeatureStore({Q} prompts x {K} labels x {N} neurons, {str(self.folder)!r})"


def shard_name(rows: slice) -> str:
    """File of the prompts ``rows``."""
    return f"prompts-{rows.start}-{rows.stop}.safetensors"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a store.

    Raises
    ------
    ValueError
        There is none, or it is not one that this version reads.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
        known = manifest["format"] == FORMAT and manifest["version"] == VERSION
    except FileNotFoundError as error:
        raise ValueError(f"{folder} holds no features: there is no {path.name} in it") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}); delete it") from error
    if not known:
        raise ValueError(f"{path} is not a manifest that this version reads; delete {folder}")
    return dict(manifest)


def write_manifest(folder: Path, identity: dict[str, Any], digests: dict[str, str]) -> None:
    """Put a manifest in place in one step."""
    content = {"format": FORMAT, "version": VERSION, "identity": identity, "shards": digests}
    replace_file(
        folder / "manifest.json", lambda path: path.write_text(json.dumps(content, indent=1) + "\n")
    )


def _rows(name: str) -> slice:
    start, stop = name.removesuffix(".safetensors").split("-")[1:]
    return slice(int(start), int(stop))


def _start(name: str) -> int:
    return _rows(name).start
