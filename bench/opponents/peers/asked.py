"""State a sweep as all libraries are asked it, and walk its rows in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sweep:
    """Shift neurons of the up projection at a prompt's last token, one at a time.

    Attributes
    ----------
    tokens : list of int
    target : int
        Token whose log p is read.
    neurons : Tensor [N, 2] int64
        (layer, index).
    amounts : Tensor [J] or None
        Shifts away from zero (axis "magnitude"); None sets each neuron to 0 instead.
    """

    tokens: list[int]
    target: int
    neurons: Tensor
    amounts: Tensor | None

    @property
    def columns(self) -> int:
        """J, or 1 for an ablation."""
        return 1 if self.amounts is None else len(self.amounts)

    def of(self, neurons: Tensor, amounts: Tensor | None = None) -> Sweep:
        """Return the part that asks some of the neurons, by number, and some of the amounts."""
        some = self.amounts if self.amounts is None or amounts is None else self.amounts[amounts]
        return Sweep(self.tokens, self.target, self.neurons[neurons], some)


def moved(values: Tensor, amounts: Tensor | None) -> Tensor:
    """What neurons become."""
    return torch.zeros_like(values) if amounts is None else values + amounts * values.sign()


class Library(Protocol):
    """A way to compute rows, ``batch`` of them at once."""

    batch: int

    def begin(self, tokens: list[int]) -> Any:
        """Compute what the rows of a prompt share."""

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """Log p(target) [R] with neuron r of ``layer`` moved by amount r in row r."""


@torch.no_grad()
def changes(library: Library, sweep: Sweep) -> Tensor:
    """Differences of log p(target) [N, J] in nats, layer by layer."""
    shared = library.begin(sweep.tokens)
    nothing = torch.zeros(1)
    base = library.rows(shared, sweep.target, 0, torch.zeros(1, dtype=torch.int64), nothing)
    out = torch.empty(len(sweep.neurons), sweep.columns, dtype=base.dtype)
    for layer in sweep.neurons[:, 0].unique().tolist():
        chosen = sweep.neurons[:, 0] == layer
        neurons = sweep.neurons[chosen, 1].repeat_interleave(sweep.columns)
        amounts = None if sweep.amounts is None else sweep.amounts.repeat(int(chosen.sum()))
        found = []
        for first in range(0, len(neurons), library.batch):
            own = slice(first, first + library.batch)
            some = None if amounts is None else amounts[own]
            found.append(library.rows(shared, sweep.target, layer, neurons[own], some))
        out[chosen] = torch.cat(found).view(-1, sweep.columns)
    return out - base
