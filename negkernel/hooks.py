"""Shift and read neurons in a model's own forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from negkernel.families.hook_sites import HookSite
from negkernel.rows import Rows
from negkernel.sites import shift_amount

Edit = Any


@contextmanager
def edited(sites: Sequence[HookSite], edits: dict[int, Edit]) -> Iterator[None]:
    """Run ``edits[layer](x) -> x`` on the neurons ``x`` [tokens, I] of those layers.

    ``x`` has all batch and sequence positions in one axis. The hooks are gone on leaving.
    """
    handles = []
    try:
        for layer, edit in edits.items():
            handles.append(_install(sites[layer], edit))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _install(site: HookSite, edit: Edit) -> torch.utils.hooks.RemovableHandle:
    columns = slice(site.offset, site.offset + site.width)

    def apply(x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        changed = edit(flat[:, columns])
        if changed is None:
            return x
        if site.width == x.shape[-1]:
            return changed.view(x.shape)
        out = flat.clone()
        out[:, columns] = changed
        return out.view(x.shape)

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (apply(args[0]), *args[1:])

    def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return apply(output)

    if site.is_input:
        return site.module.register_forward_pre_hook(before)
    return site.module.register_forward_hook(after)


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
