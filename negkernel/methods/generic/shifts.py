"""Shift neurons of carried rows where a hook catches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from negkernel.methods.generic.carrier import Carried
from negkernel.request.rows import Rows
from negkernel.sites import shift_amount


@dataclass(frozen=True)
class LayerShift:
    """What rows do to the neurons of one layer.

    Attributes
    ----------
    n_rows : int
    row, neuron : Tensor [E] int64
    amount : Tensor [E]
    tokens : list of int
        Carried tokens that every entry shifts.
    axis : str
    before : Tensor [w, I] or None
        Neurons at those tokens without any shift, where signs follow them.
    rows : Rows
        Those that entries belong to, for the rule of their signs.
    """

    n_rows: int
    row: Tensor
    neuron: Tensor
    amount: Tensor
    tokens: Sequence[int]
    axis: str
    before: Tensor | None
    rows: Rows

    def __call__(self, x: Tensor) -> Carried:
        """Apply the shifts to all neurons ``x`` [tokens, I] of the layer."""
        assert isinstance(x, Carried)
        rows = x.dense()
        device = x.base.device
        new = x.base.new_zeros(self.n_rows, *x.base.shape) if rows is None else rows.clone()
        row, neuron = self.row.to(device), self.neuron.to(device)
        for place, token in enumerate(self.tokens):
            value = x.base[token, neuron] + new[row, token, neuron]
            change = self.by(value, self.amount.to(value), place, neuron)
            new.index_put_((row, torch.full_like(row, token), neuron), change, accumulate=True)
        return Carried(x.base, new)

    def by(self, value: Tensor, amount: Tensor, place: int, neuron: Tensor) -> Tensor:
        """What is added to neurons of value ``value`` at the ``place``-th shifted token."""
        signs = self.rows.signs
        if signs is None or self.before is None:
            return shift_amount(value, amount, self.axis)
        return signs.shift(self.before[place, neuron][:, None], value[:, None], amount[:, None])[
            :, 0
        ]


def shifts_of(
    rows: Rows, tokens: Sequence[int], axis: str, before: Mapping[int, Tensor]
) -> dict[int, LayerShift]:
    """The shifts of ``rows`` in each layer they touch; ``before[layer]`` [w, I] without any."""
    entry_row = rows.entry_row
    found = {}
    for layer in torch.unique(rows.layer).tolist():
        chosen = torch.nonzero(rows.layer == layer)[:, 0]
        found[layer] = LayerShift(
            len(rows),
            entry_row[chosen],
            rows.neuron[chosen],
            rows.amount[chosen],
            tokens,
            axis,
            before.get(layer) if rows.signs is not None else None,
            rows,
        )
    return found
