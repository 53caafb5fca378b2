"""Carry rows from the layer in which they enter to log p(target).

A row carries h(shifted) - h(base) at the positions that its shift can reach. Every step is an
identity on finite differences, not a linearisation, and never subtracts two nearly equal numbers
(the references in :mod:`negkernel.ops` spell them out). The base vectors come from a
:class:`~negkernel.delta.trace.Trace`; rows of different prompts, neurons and layers share every
matrix multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from negkernel.delta.head import Wanted, read_rows
from negkernel.delta.layer import Entries, Stream, attention_step, enter, mlp_step
from negkernel.delta.positions import Layout, Places
from negkernel.delta.trace import Trace
from negkernel.families.parts import Block, Description
from negkernel.families.resident import resident
from negkernel.request.rows import Rows


@torch.no_grad()
def propagate(
    model: Description, trace: Trace, batches: Sequence[Rows], wanted: Wanted
) -> list[Tensor]:
    """Changes of log p(target) for batches of rows, which go through every layer together.

    Parameters
    ----------
    batches : list of Rows
        From :meth:`Rows.chunks`; ``rows.prompt`` indexes the prompts of ``trace``.

    Returns
    -------
    list of Tensor [r, C], or [r, 2 C + 2] with readings
        ``log p(t | shifted) - log p(t)``, natural logarithm, in the state dtype, of each batch.
    """
    flights = [Flight(model, trace, rows, wanted) for rows in batches]
    for index in range(min(flight.first for flight in flights), model.n_layers):
        block = model.blocks[index]
        with resident(block.loaders):
            for flight in flights:
                if flight.first <= index:
                    flight.through(block, index)
    with resident(model.head_loaders):
        return [flight.land() for flight in flights]


class Flight:
    """A batch of rows under way.

    Parameters
    ----------
    model, trace, rows, wanted
        As of :func:`propagate`.

    Attributes
    ----------
    first : int
        Lowest layer in which one of the rows enters.
    """

    def __init__(self, model: Description, trace: Trace, rows: Rows, wanted: Wanted):
        first, last = int(rows.prompt.min()), int(rows.prompt.max()) + 1
        self.model, self.rows = model, rows
        self.base = trace.select(first, last)
        own = wanted.targets[trace.lines(first, last)]
        self.wanted = Wanted(own, wanted.spot, wanted.readings)
        self.prompt = rows.prompt - first
        self.first_layer, self.entry_row = rows.first_layer(), rows.entry_row
        self.first = int(self.first_layer.min())
        self.stream: Stream | None = None

    def through(self, block: Block, index: int) -> None:
        """Take the rows that have entered through a layer, and those in that enter in it."""
        here = torch.nonzero(self.rows.layer == index)[:, 0]
        entering = self.first_layer[self.entry_row[here]] == index
        carried, base = self.base.carried, self.base.layers[index]
        top = index == self.model.n_layers - 1
        if self.stream is not None:
            stream = self.stream
            stream.to(block.device)
            to = self._over(carried.read if top else carried.all, stream)
            entries = self._entries(index, here[~entering], stream.row, to)
            attention_step(block, self.base, index, stream, to, entries)
            mlp_step(block, base, stream, entries)
        if bool(entering.any()):
            row = torch.nonzero(self.first_layer == index)[:, 0]
            row = row[torch.argsort(self.prompt[row], stable=True)]
            at = Layout.over(carried.shifted, self._rows_of(row), block.device)
            entries = self._entries(index, here[entering], row, at)
            fresh = enter(block, base, row, at, entries)
            if top:
                fresh.move(self._over(carried.read, fresh))
            joined = None if self.stream is None else self.stream.join(fresh, self.prompt)
            self.stream = fresh if joined is None else joined

    def land(self) -> Tensor:
        """Read the rows off the head, back in the batch's order."""
        stream = self.stream
        assert stream is not None  # a row has at least one entry
        change = read_rows(self.model, self.base.head, stream, self.wanted)
        out = torch.empty_like(change)
        out[stream.row.to(change.device)] = change
        return out

    def _over(self, places: Places, stream: Stream) -> Layout:
        """Lay the rows of ``stream`` out over ``places``; the same object where they are."""
        at = stream.at
        return at if at.places is places else Layout.over(places, at.rows, at.index.device)

    def _rows_of(self, row: Tensor) -> Tensor:
        """Rows of each prompt [P] among ``row``."""
        return torch.bincount(self.prompt[row], minlength=self.base.n_prompts)

    def _entries(self, layer: int, entry: Tensor, row: Tensor, at: Layout) -> Entries:
        """Entries ``entry`` of the batch, of one layer, where rows ``row`` are laid out ``at``."""
        rows, shifted = self.rows, self.base.carried.shifted
        position = torch.empty(len(rows), dtype=torch.int64)
        position[row] = torch.arange(len(row))
        where = position[self.entry_row[entry]]
        if not self.base.carried.single and len(entry):
            prompt = self.prompt[self.entry_row[entry]]
            counts = at.rows
            own = where - (counts.cumsum(0) - counts)[prompt]
            times = shifted.start.diff()[prompt]
            again = torch.repeat_interleave(torch.arange(len(entry)), times)
            nth = torch.arange(len(again)) - (times.cumsum(0) - times)[again]
            place = shifted.index[shifted.start[prompt[again]] + nth]
            where, entry = at.find(place, own[again]), entry[again]
            entry, where = entry[where >= 0], where[where >= 0]
        device = at.index.device
        return Entries(
            row=where.to(device),
            neuron=rows.neuron[entry].to(device),
            amount=rows.amount[entry].to(self.base.head.x_final).to(device),
            spot=self.wanted.spot,
            layer=layer,
            signs=rows.signs,
        )
