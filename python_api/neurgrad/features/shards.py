"""One batch of features as a safetensors file, whose codes are mapped rather than read."""

from __future__ import annotations

import json
from math import factorial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from neurgrad.features.batches import Features
from neurgrad.features.packed import PackedScores, Ties
from neurgrad.features.planes import MAX_CODES, join_planes, split_planes


def save_shard(path: Path, features: Features, gold: NDArray) -> None:
    """Write a batch of q prompts.

    ``codes`` [q, N], for five labels their low bytes, with the two high bits of four codes a byte
    in ``high`` [q, ceil(N / 4)]; their ties, ``probability`` [q, K], ``gold`` [q] and, where they
    were read, ``activation`` [q, N].
    """
    scores = features.scores
    tensors = {
        "codes": scores.codes,
        "tie_prompt": scores.ties.prompt,
        "tie_neuron": scores.ties.neuron,
        "tie_equal": scores.ties.equal,
        "probability": features.probability,
        "gold": gold.astype(np.int64),
    }
    if _has_planes(scores.n_labels):
        tensors["codes"], tensors["high"] = split_planes(scores.codes)
    if features.activation is not None:
        tensors["activation"] = features.activation
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)


def read_tensor(path: Path, name: str) -> NDArray:
    """Read one small tensor of a shard."""
    with safe_open(path, framework="np") as file:
        return np.asarray(file.get_tensor(name))


def map_tensor(path: Path, name: str) -> NDArray:
    """Map one tensor of a shard into memory: its pages are read when they are looked at.

    The file begins with the length of a JSON header, 8 bytes, and the header, which gives each
    tensor's dtype, shape and place behind it.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
    dtype = {"U8": np.uint8, "U16": np.uint16, "F32": np.float32}[entry["dtype"]]
    offset = 8 + length + entry["data_offsets"][0]
    return np.memmap(path, dtype, "r", offset, tuple(entry["shape"]))


def read_scores(path: Path, n_labels: int) -> PackedScores:
    """Score orders of a shard, the codes mapped (for five labels joined from their planes)."""
    prompt, neuron, equal = (read_tensor(path, f"tie_{part}") for part in _TIES)
    codes = map_tensor(path, "codes")
    if _has_planes(n_labels):
        codes = join_planes(codes, map_tensor(path, "high"))
    return PackedScores(codes, n_labels, Ties(prompt, neuron, equal))


def _has_planes(n_labels: int) -> bool:
    return 256 < factorial(n_labels + 1) <= MAX_CODES


_TIES = ("prompt", "neuron", "equal")
