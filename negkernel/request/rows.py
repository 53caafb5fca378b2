"""Requests -> rows: the unit of work that all prompts, neurons and shifts are turned into.

A row is one intervention on one prompt: a set of neurons, each with a layer and an amount. It
enters the delta forward at the lowest of its layers. A sweep makes rows with one neuron each; an
intervention may touch many neurons in many layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from negkernel.request.signs import Signs


@dataclass(frozen=True)
class Rows:
    """R rows with E entries (a neuron of a row) between them.

    Attributes
    ----------
    prompt : Tensor [R] int64
        Index of each row's prompt.
    start : Tensor [R + 1] int64
        Entries of row r are ``start[r]:start[r + 1]``; a row has at least one.
    layer, neuron : Tensor [E] int64
    amount : Tensor [E]
    signs : Signs or None
        Which sign entries follow on the magnitude axis; None where no layer below could flip one.
    """

    prompt: Tensor
    start: Tensor
    layer: Tensor
    neuron: Tensor
    amount: Tensor
    signs: Signs | None = None

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def entry_row(self) -> Tensor:
        """Row of each entry [E]."""
        return torch.repeat_interleave(torch.arange(len(self)), self.start.diff())

    def first_layer(self) -> Tensor:
        """Lowest layer that each row touches [R]."""
        first = torch.full((len(self),), torch.iinfo(torch.int64).max)
        return first.scatter_reduce(0, self.entry_row, self.layer, "amin")

    def take(self, index: Tensor) -> Rows:
        """Rows ``index`` in that order."""
        counts = self.start.diff()[index]
        start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        within = torch.arange(int(start[-1])) - torch.repeat_interleave(start[:-1], counts)
        entries = torch.repeat_interleave(self.start[:-1][index], counts) + within
        return Rows(
            self.prompt[index],
            start,
            self.layer[entries],
            self.neuron[entries],
            self.amount[entries],
            self.signs,
        )

    def chunks(
        self, most: Callable[[int], int], *, together: bool
    ) -> Iterator[tuple[Tensor, Rows]]:
        """Split into batches that enter at neighbouring layers, or at one where not ``together``.

        ``most(layer)`` is the number of rows of a batch whose first row enters at that layer.

        Yields
        ------
        index [r], rows
            ``rows`` are the rows ``index`` of this object. Within a batch rows are sorted by
            entry layer, then by prompt, so that a batch runs only the layers it needs.
        """
        first = self.first_layer()
        order = torch.argsort(first * (int(self.prompt.max()) + 1) + self.prompt, stable=True)
        parts = [order]
        if not together:
            parts = list(order.split(torch.unique(first, return_counts=True)[1].tolist()))
        for part in parts:
            for index in part.split(most(int(first[part[0]]))):
                yield index, self.take(index)


def sweep_rows(neurons: Tensor, shifts: Tensor) -> Rows:
    """Rows of a sweep, in the order of its result [P, N, J].

    Parameters
    ----------
    neurons : Tensor [P, N, 2] int64
        (layer, index) of each prompt's neurons.
    shifts : Tensor [J] or [P, N, J]
    """
    P, N, _ = neurons.shape
    J = shifts.shape[-1]
    flat = neurons[:, :, None, :].expand(P, N, J, 2).reshape(-1, 2)
    return Rows(
        prompt=torch.arange(P).repeat_interleave(N * J),
        start=torch.arange(P * N * J + 1),
        layer=flat[:, 0],
        neuron=flat[:, 1],
        amount=shifts.expand(P, N, J).reshape(-1),
    )
