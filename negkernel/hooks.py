"""Shift and read neurons in a model's own forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from negkernel.families.feed_forward import Edit, Site
from negkernel.fork import undone_in_forks
from negkernel.rows import Rows
from negkernel.sites import shift_amount


@contextmanager
def edited(sites: Sequence[Site], edits: dict[int, Edit]) -> Iterator[None]:
    """Run ``edits[layer](x) -> x`` on the neurons ``x`` [tokens, I] of those layers.

    ``x`` has all batch and sequence positions in one axis. The hooks are gone on leaving.
    """
    with ExitStack() as stack, undone_in_forks(stack.close):
        for layer, edit in edits.items():
            stack.enter_context(sites[layer].edited(edit))
        yield


def shifts(rows: Rows, position: Tensor, axis: str) -> dict[int, Edit]:
    """Edits that apply ``rows``; row r's probed token is at ``position[r]`` of the token axis.

    Each shift sees the activation as it stands in that forward: in a multi-layer intervention,
    after the shifts of earlier layers.
    """
    entry_row = rows.entry_row

    def make(chosen: Tensor) -> Edit:
        token, neuron = position[entry_row[chosen]], rows.neuron[chosen]
        amount = rows.amount[chosen]

        def edit(x: Tensor) -> Tensor:
            at = (token.to(x.device), neuron.to(x.device))
            x = x.clone()
            x[at] += shift_amount(x[at], amount.to(x), axis)
            return x

        return edit

    layers = torch.unique(rows.layer).tolist()
    return {layer: make(torch.nonzero(rows.layer == layer)[:, 0]) for layer in layers}


def reader(into: dict[int, Tensor], layers: Sequence[int], position: Tensor) -> dict[int, Edit]:
    """Edits that change nothing and keep the neurons at ``position`` in ``into[layer]``."""

    def make(layer: int) -> Edit:
        def edit(x: Tensor) -> None:
            into[layer] = x[position.to(x.device)].detach().clone()

        return edit

    return {layer: make(layer) for layer in layers}
