"""Prompts as one stream of tokens in which every shared prefix stands once.

Prompts are sorted by their tokens; each then shares with its predecessor the longest common
prefix and adds only the rest. The additions of all prompts, one after the other, are the *nodes*
of a prefix tree, and a prompt is the path of nodes it walks. A prefill over the nodes computes
every few-shot preamble once, needs no padding, and gives each prompt what it would get alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHARING = 1.25  # a common first token is none


@dataclass(frozen=True)
class Segment:
    """New nodes ``start:stop`` of one prompt; they see the path up to and including themselves."""

    start: int
    stop: int
    path: Tensor


@dataclass(frozen=True)
class Packing:
    """The prefix tree of a list of prompts.

    Attributes
    ----------
    tokens, positions : Tensor [T] int64
        Token id and position of each node.
    paths : list of Tensor [S_p] int64
        For each prompt, in the caller's order, the nodes it consists of.
    segments : list of Segment
        The nodes in the order in which they were added, in runs that share their predecessors.
    length : Tensor [T] int64
        A prompt length from which the node's RoPE frequencies follow (see ``Description``).
    shares : bool
        Prompts have many more tokens, one by one, than there are nodes.
    """

    tokens: Tensor
    positions: Tensor
    paths: list[Tensor]
    segments: list[Segment]
    length: Tensor
    shares: bool = False

    @property
    def last(self) -> Tensor:
        """Node of each prompt's last token [P]."""
        return torch.stack([path[-1] for path in self.paths])


def pack(
    prompts: Sequence[Sequence[int]], length_key: Callable[[int], Any] | None = lambda length: 0
) -> Packing:
    """Pack token lists (none empty) into a :class:`Packing`.

    Only prompts with equal ``length_key(len(prompt))``, which must sort, share nodes; none do
    where it is None, as where tokens see what comes after them.
    """
    arrays = [np.asarray(prompt, dtype=np.int64) for prompt in prompts]
    sharing = length_key is not None
    keys = [len(own) if length_key is None else length_key(len(own)) for own in arrays]
    order = sorted(range(len(arrays)), key=lambda i: (keys[i], list(prompts[i]) if sharing else i))
    tokens: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    paths: list[np.ndarray] = [np.empty(0, np.int64)] * len(arrays)
    segments: list[Segment] = []
    n_nodes = 0
    before: int | None = None
    for i in order:
        own = arrays[i]
        shared = 0
        if sharing and before is not None and keys[i] == keys[before]:
            shared = common_prefix(arrays[before], own)
        n_new = len(own) - shared
        new = np.arange(n_nodes, n_nodes + n_new)
        paths[i] = new if before is None else np.concatenate([paths[before][:shared], new])
        if n_new:
            segments.append(Segment(n_nodes, n_nodes + n_new, torch.from_numpy(paths[i])))
        tokens.append(own[shared:])
        positions.append(np.arange(shared, len(own)))
        lengths.append(np.full(n_new, len(own)))
        n_nodes += n_new
        before = i
    return Packing(
        tokens=torch.from_numpy(np.concatenate(tokens)),
        positions=torch.from_numpy(np.concatenate(positions)),
        paths=[torch.from_numpy(path) for path in paths],
        segments=segments,
        length=torch.from_numpy(np.concatenate(lengths)),
        shares=sum(map(len, arrays)) > SHARING * n_nodes,
    )


class Beginnings:
    """Finds out what prompts share with those that are in a group already.

    Parameters
    ----------
    prompts : list of list of int
    length_key : callable
        As of :func:`pack`.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], length_key: Callable[[int], Any]):
        self._prompts, self._key = prompts, length_key
        self._group: list[tuple[Any, list[int]]] = []

    def shared(self, first: int, p: int) -> int:
        """Add prompt p to a group, anew where it is the ``first`` one: its tokens that are there.

        Prompts of a group are added one after the other.
        """
        tokens = self._prompts[p]
        own = self._key(len(tokens)), list(tokens)
        if p == first:
            self._group = []
        place = bisect.bisect(self._group, own)
        beside = self._group[max(0, place - 1) : place + 1]
        self._group.insert(place, own)
        arrays = [np.asarray(other) for key, other in beside if key == own[0]]
        return max((common_prefix(one, np.asarray(own[1])) for one in arrays), default=0)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """``x[index]`` along the first axis; a view where ``index`` (on the CPU) is one run of nodes.

    Prompts that share nothing are such runs, and so is a batch of them: no copy is made of their
    keys and values.
    """
    flat = index.reshape(-1)
    n = len(flat)
    if n and int(flat[-1]) - int(flat[0]) == n - 1 and bool((flat.diff() == 1).all()):
        start = int(flat[0])
        return x[start : start + n].view(*index.shape, *x.shape[1:])
    return x[index.to(x.device)]


def pad_paths(paths: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Paths as one index [P, S], short ones filled up with their last node, and lengths [P]."""
    length = torch.tensor([len(path) for path in paths])
    longest = int(length.max())
    padded = [torch.cat([path, path[-1:].expand(longest - len(path))]) for path in paths]
    return torch.stack(padded), length


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two prompts begin with alike."""
    n = min(len(a), len(b))
    differ = np.nonzero(a[:n] != b[:n])[0]
    return int(differ[0]) if len(differ) else n
