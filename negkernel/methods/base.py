"""What every way of computing a sweep has in common: the work it is given, what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from negkernel.rows import Rows


@dataclass(frozen=True)
class Work:
    """Shifted forwards to compute.

    Attributes
    ----------
    tokens : list of list of int
        P prompts.
    positions : list of int
        Probed position of each prompt: where shifts act and log-probs are read.
    targets : Tensor [P, K] int64
        Tokens whose log-prob is wanted under every shift.
    watched : Tensor [P, W] int64
        Tokens whose log-prob is wanted in the base computation.
    rows : callable
        ``rows(first, last)``: the rows of prompts ``first:last``, numbered from 0, sorted by
        prompt, the same number for each prompt. Made on demand: a sweep may have 10^8 of them.
    neurons : Tensor [P, N, 2] int64
        (layer, index) of neurons whose base activation is wanted; N may be 0.
    site, axis : str
        A resolved site and an axis.
    readings : bool
        Read off everything that :mod:`negkernel.methods.readings` lists, not log p alone.
    """

    tokens: Sequence[Sequence[int]]
    positions: Sequence[int]
    targets: Tensor
    watched: Tensor
    rows: Callable[[int, int], Rows]
    neurons: Tensor
    site: str
    axis: str
    readings: bool = False


@dataclass(frozen=True)
class Part:
    """Results of prompts ``first:last``.

    Attributes
    ----------
    base_logprob : Tensor [p, W]
    logprob_shift : Tensor [r, K], or [r, 2 K + 2] with readings
        One line per row, in the order of ``Work.rows(first, last)``.
    activation : Tensor [p, N]
    """

    first: int
    last: int
    base_logprob: Tensor
    logprob_shift: Tensor
    activation: Tensor


class Method(Protocol):
    """A way of computing shifted log-probs; ``name`` is what users pass as ``method=``."""

    name: str

    def run(self, work: Work) -> Iterator[Part]:
        """Compute ``work``, some prompts at a time, in order."""
        ...


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory was short, which is no fault of a method."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("memory" in text or "alloc" in text)
