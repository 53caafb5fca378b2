"""Say which positions of prompts carry a difference, and lay out the rows of a batch over them.

The positions of a prompt that a shift can reach are its *carried* ones: from the first shifted one
on in a causal model, all of them in a masked one. The base keeps its vectors at the carried
positions of all prompts, one after the other. *Places* are some of those: the shifted ones, where
rows enter; all; the one that is read. Where a prompt carries one position, all three are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Places:
    """Some carried positions of each prompt.

    Attributes
    ----------
    index : Tensor [W] int64
        Which carried positions, ascending; on the CPU.
    start : Tensor [P + 1] int64
        Those of prompt p are ``index[start[p]:start[p + 1]]``.
    """

    index: Tensor
    start: Tensor

    def of(self, prompt: int) -> Tensor:
        """Return the carried positions of one prompt."""
        return self.index[self.start[prompt] : self.start[prompt + 1]]

    def select(self, first: int, last: int, offset: int) -> Places:
        """Restrict to prompts ``first:last``, whose carried positions start at ``offset``."""
        start = self.start[first : last + 1]
        return Places(self.index[start[0] : start[-1]] - offset, start - start[0])


@dataclass(frozen=True, eq=False)
class Carried:
    """The carried positions of P prompts.

    Attributes
    ----------
    position : Tensor [C] int64
        Position of each in its prompt.
    all, shifted, read : Places
        ``read`` has one of each prompt, or more where an answer has several tokens.
    """

    position: Tensor
    all: Places
    shifted: Places
    read: Places

    @property
    def single(self) -> bool:
        """Whether each prompt carries one position."""
        return self.all is self.read

    @property
    def one_read(self) -> bool:
        """Whether each prompt is read at one position."""
        return len(self.read.index) == len(self.read.start) - 1

    @property
    def at_once(self) -> bool:
        """Whether rows carry all their positions from the layer on in which they enter."""
        return len(self.shifted.index) == len(self.position)

    @property
    def reported(self) -> Places:
        """Where activations are told of: the shifted position; of several the one read first."""
        start = self.read.start
        if len(self.shifted.index) == len(start) - 1:
            return self.shifted
        return Places(self.read.index[start[:-1]], torch.arange(len(start)))

    def select(self, first: int, last: int) -> Carried:
        """Restrict to prompts ``first:last``."""
        lead, end = int(self.all.start[first]), int(self.all.start[last])
        whole = self.all.select(first, last, lead)
        if self.single:
            return Carried(self.position[lead:end], whole, whole, whole)
        shifted, read = (x.select(first, last, lead) for x in (self.shifted, self.read))
        return Carried(self.position[lead:end], whole, shifted, read)


def carried(
    lengths: Sequence[int],
    read: Sequence[Sequence[int]],
    shifted: Sequence[Sequence[int]],
    causal: bool,
) -> Carried:
    """Find what shifts at positions ``shifted`` can reach of prompts that are read at ``read``.

    Both are of each prompt, ascending.
    """
    first = [min(p[0], r[0]) if causal else 0 for p, r in zip(shifted, read, strict=True)]
    stop = [r[-1] + 1 if causal else n for n, r in zip(lengths, read, strict=True)]
    runs = [torch.arange(a, b) for a, b in zip(first, stop, strict=True)]
    start = _starts([len(run) for run in runs])
    whole = Places(torch.arange(int(start[-1])), start)
    position = torch.cat(runs)
    if len(position) == len(runs):
        return Carried(position, whole, whole, whole)
    lead = start[:-1] - torch.tensor(first)
    return Carried(position, whole, _places(shifted, lead), _places(read, lead))


def _places(positions: Sequence[Sequence[int]], lead: Tensor) -> Places:
    index = [torch.tensor(at) + own for at, own in zip(positions, lead, strict=True)]
    return Places(torch.cat(index), _starts([len(at) for at in positions]))


def _starts(counts: Sequence[int]) -> Tensor:
    return torch.tensor([0, *counts]).cumsum(0)


@dataclass(frozen=True, eq=False)
class Layout:
    """Rows of a batch at places: by prompt, then by position, then by row.

    A prompt's differences are one block ``[w, n, ...]`` of its w places and n rows, and ``index``
    ascends, so that each base vector is read for all rows at once.

    Attributes
    ----------
    places : Places
    rows : Tensor [P] int64
        Rows of each prompt; on the CPU.
    index : Tensor [D] int64
        The carried position of each difference.
    """

    places: Places
    rows: Tensor
    index: Tensor

    @classmethod
    def over(cls, places: Places, rows: Tensor, device: torch.device) -> Layout:
        """Lay out ``rows`` [P] rows of each prompt over ``places``."""
        each = rows.repeat_interleave(places.start.diff())
        return cls(places, rows, places.index.repeat_interleave(each).to(device))

    def to(self, device: torch.device) -> Layout:
        """Return this with its index on ``device``."""
        same = self.index.device == device
        return self if same else Layout(self.places, self.rows, self.index.to(device))

    @property
    def start(self) -> Tensor:
        """Where each place's rows start among the differences [W + 1]; on the CPU."""
        each = self.rows.repeat_interleave(self.places.start.diff())
        return torch.cat([each.new_zeros(1), each.cumsum(0)])

    @property
    def row(self) -> Tensor:
        """Which row of the batch each difference is of [D], rows sorted by prompt; on the CPU."""
        first = (self.rows.cumsum(0) - self.rows).tolist()
        parts = [
            torch.arange(first[p], first[p] + n).repeat((own.stop - own.start) // n)
            for p, n, own in self.blocks()
        ]
        return torch.cat(parts)

    def blocks(self) -> list[tuple[int, int, slice]]:
        """Prompts that have rows: (prompt, rows, which differences)."""
        bounds = self.start[self.places.start].tolist()
        rows = self.rows.tolist()
        return [(p, n, slice(bounds[p], bounds[p + 1])) for p, n in enumerate(rows) if n]

    def find(self, position: Tensor, own: Tensor) -> Tensor:
        """Return which difference is that of row ``own`` at a carried ``position``; -1 where none.

        Rows are numbered within their prompt. All tensors [E], on the CPU.
        """
        place = torch.searchsorted(self.places.index, position).clamp(
            max=len(self.places.index) - 1
        )
        here = self.places.index[place] == position
        return torch.where(here, self.start[place] + own, -1)

    def transfer(self, x: Tensor, to: Layout) -> Tensor:
        """Bring ``x`` [D, ...] to another layout of the same rows; 0 where this has no place."""
        if to is self or torch.equal(self.places.index, to.places.index):
            return x
        count = to.start.diff()
        own = torch.arange(int(count.sum())) - to.start[:-1].repeat_interleave(count)
        at = self.find(to.places.index.repeat_interleave(count), own)
        if bool((at >= 0).all()):
            return x[at.to(x.device)]
        out = x.new_zeros(len(at), *x.shape[1:])
        there = torch.nonzero(at >= 0)[:, 0]
        out[there.to(x.device)] = x[at[there].to(x.device)]
        return out
