"""Shift and read neurons in a model's own forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from negkernel.families.feed_forward import Absent, Edit, Site
from negkernel.hooks.fork import undone_in_forks
from negkernel.request.rows import Rows
from negkernel.sites import shift_amount


@dataclass(frozen=True)
class Probed:
    """Where some tokens of each of ``batch`` sequences are among the tokens of a module.

    A module sees the tokens of all sequences in one axis, each sequence as long as the prompt or,
    in a model that pads inside, longer at its end.
    """

    batch: int
    length: int
    positions: Sequence[int]
    padded: set[int] = field(default_factory=set, compare=False)  # lengths that were longer

    def index(self, x: Tensor) -> Tensor:
        """Indices [batch, w] into the tokens of ``x`` [tokens, I].

        Raises
        ------
        NotImplementedError
            The module does not see these sequences whole.
        """
        each, rest = divmod(len(x), self.batch)
        if rest or each < self.length:
            raise NotImplementedError(
                f"a feed-forward module sees {len(x)} tokens at once, where {self.batch} prompts "
                f"have {self.length} each; its neurons cannot be told apart by prompt"
            )
        if each > self.length:
            self.padded.add(each)
        first = torch.arange(0, self.batch * each, each, device=x.device)
        return first[:, None] + torch.tensor(self.positions, device=x.device)


@contextmanager
def edited(sites: Sequence[Site], edits: dict[int, Edit]) -> Iterator[None]:
    """Run ``edits[layer](x) -> x`` on the neurons ``x`` [tokens, I] of those layers.

    ``x`` has all batch and sequence positions in one axis. The hooks are gone on leaving.

    Raises
    ------
    NotImplementedError
        A layer's neurons were not computed exactly once in between.
    """
    runs = {layer: 0 for layer in edits if not isinstance(sites[layer], Absent)}

    def counted(layer: int, edit: Edit) -> Edit:
        def run(x: Tensor) -> Tensor | None:
            runs[layer] += 1
            return edit(x)

        return run

    with ExitStack() as stack, undone_in_forks(stack.close):
        for layer, edit in edits.items():
            stack.enter_context(sites[layer].edited(counted(layer, edit)))
        yield
    for layer, count in runs.items():
        if count != 1:
            raise NotImplementedError(
                f"the feed-forward module of layer {layer} ran {count} times in one forward; "
                "expected once, with all tokens"
            )


def shifts(
    rows: Rows, probed: Probed, axis: str, baseline: Mapping[int, Tensor] | None = None
) -> dict[int, Edit]:
    """Edits that apply ``rows``, row r at the tokens ``probed`` of sequence r.

    Each shift sees the activation as it stands in that forward: in a multi-layer intervention,
    after the shifts of earlier layers. ``baseline[layer]`` [w, I] are the neurons without any, of
    the layers that :func:`read_for` names.
    """
    entry_row = rows.entry_row

    def make(layer: int) -> Edit:
        chosen = torch.nonzero(rows.layer == layer)[:, 0]
        row, neuron, amount = entry_row[chosen], rows.neuron[chosen], rows.amount[chosen]

        def edit(x: Tensor) -> Tensor:
            at = (probed.index(x)[row.to(x.device)], neuron.to(x.device)[:, None])
            x, by = x.clone(), amount.to(x)[:, None]
            if rows.signs is None or baseline is None:
                x[at] += shift_amount(x[at], by, axis)
            else:
                before = baseline[layer].t()[at[1][:, 0]]
                x[at] += rows.signs.shift(before, x[at], by)
            return x

        return edit

    return {layer: make(layer) for layer in torch.unique(rows.layer).tolist()}


def read_for(rows: Rows, neurons: Tensor) -> list[int]:
    """Layers whose base activations are wanted: of ``neurons`` [N, 2], and for the rows' signs."""
    layers = neurons[:, 0] if rows.signs is None else torch.cat([neurons[:, 0], rows.layer])
    return torch.unique(layers).tolist()


def reader(into: dict[int, Tensor], layers: Sequence[int], probed: Probed) -> dict[int, Edit]:
    """Edits that change nothing and keep neurons of ``probed`` tokens in ``into[layer]``."""

    def make(layer: int) -> Edit:
        def edit(x: Tensor) -> None:
            into[layer] = x[probed.index(x).flatten()].detach().clone()

        return edit

    return {layer: make(layer) for layer in layers}
