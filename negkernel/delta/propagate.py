"""The delta forward: a batch of rows carries h(shifted) - h(base) from its layer to log p(target).

Every step is an identity on finite differences, not a linearisation, and never subtracts two
nearly equal numbers (the references in :mod:`negkernel.ops` spell them out). The base vectors
come from a :class:`~negkernel.delta.trace.Trace`; rows of different prompts, neurons and layers
share every matrix multiplication.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from negkernel.delta.layer import Entries, Stream, attention_step, enter, mlp_step, norm_step
from negkernel.delta.trace import LayerTrace, Trace
from negkernel.families.parts import Decoder
from negkernel.methods.readings import from_differences
from negkernel.ops.logprob import logprob
from negkernel.rows import Rows


@torch.no_grad()
def propagate(
    decoder: Decoder,
    trace: Trace,
    rows: Rows,
    targets: Tensor,
    *,
    site: str,
    axis: str,
    readings: bool = False,
) -> Tensor:
    """Differences of log p(target) for one batch of rows.

    Parameters
    ----------
    rows : Rows
        A batch from :meth:`Rows.chunks`; ``rows.prompt`` indexes the prompts of ``trace``.
    targets : Tensor [P, K] int64
        Target token ids of the traced prompts.
    site, axis : str
        A resolved site and an axis, see :mod:`negkernel.sites`.
    readings : bool
        Read off everything that :mod:`negkernel.methods.readings` lists.

    Returns
    -------
    Tensor [r, K], or [r, 2 K + 2] with readings
        ``log p(t | shifted) - log p(t)``, natural logarithm, in the state dtype.
    """
    span = slice(int(rows.prompt.min()), int(rows.prompt.max()) + 1)
    row_prompt = rows.prompt - span.start
    first_layer, entry_row = rows.first_layer(), rows.entry_row
    stream: Stream | None = None
    for index in range(int(first_layer.min()), decoder.n_layers):
        block, base = decoder.blocks[index], _select(trace.layers[index], span)
        here = torch.nonzero(rows.layer == index)[:, 0]
        entering = first_layer[entry_row[here]] == index
        if stream is not None:
            stream.to(block.device)
            entries = _entries(rows, here[~entering], entry_row, stream.row, base.up)
            prefix = trace.prefix(index, block.attention.window, span.start, span.stop)
            attention_step(block, base, stream, prefix)
            mlp_step(block, base, stream, entries, site, axis)
        if bool(entering.any()):
            row = torch.nonzero(first_layer == index)[:, 0]
            row = row[torch.argsort(row_prompt[row], stable=True)]
            entries = _entries(rows, here[entering], entry_row, row, base.up)
            prompt = row_prompt[row].to(block.device)
            d = enter(block, base, prompt, entries, site, axis)
            entered = Stream(row, prompt, d)
            stream = entered if stream is None else stream.join(entered)
    assert stream is not None  # a row has at least one entry
    return _read_out(decoder, trace, stream, span, targets[span], readings)


def _read_out(
    decoder: Decoder,
    trace: Trace,
    stream: Stream,
    span: slice,
    targets: Tensor,
    readings: bool,
) -> Tensor:
    """Final norm and LM head of all rows, back in the batch's order."""
    device = trace.x_final.device
    stream.to(device)
    dn = norm_step(decoder.final_norm, trace.x_final[span], stream)
    if decoder.projection is not None:
        dn = decoder.projection.linear(dn)
    head = decoder.head.weight

    def tile(start: int, stop: int) -> Tensor:
        return head[start:stop].to(decoder.precision.operand)

    dn, targets = decoder.precision.rounded(dn), targets.to(device)
    base = trace.logprob[span]
    options: dict[str, Any] = {"scale": decoder.logit_scale, "softcap": decoder.softcap}
    if decoder.softcap is not None:
        options["base_logits"] = trace.logits[span]
    if readings:
        picked = decoder.precision.rounded(head[targets])
        centre = decoder.precision.exact(base.exp(), head.t())
        change = from_differences(dn, tile, picked, centre, base, targets, stream.prompt, **options)
    else:
        # On a GPU one kernel takes the matrix as it is; elsewhere it is rounded tile by tile.
        whole = head.is_cuda and head.dtype == decoder.precision.operand
        weight = head if whole else tile
        change = logprob(dn, weight, base, targets, stream.prompt, **options)
    out = torch.empty_like(change)
    out[stream.row.to(device)] = change
    return out


def _entries(rows: Rows, entry: Tensor, entry_row: Tensor, row: Tensor, like: Tensor) -> Entries:
    """Entries ``entry`` of ``rows`` with their row given as a position in ``row``."""
    position = torch.empty(len(rows), dtype=torch.int64)
    position[row] = torch.arange(len(row))
    return Entries(
        row=position[entry_row[entry]].to(like.device),
        neuron=rows.neuron[entry].to(like.device),
        amount=rows.amount[entry].to(like),
        signs=rows.signs,
    )


def _select(layer: LayerTrace, span: slice) -> LayerTrace:
    """Restrict the per-prompt tensors of ``layer`` to the prompts ``span``."""
    per_prompt: dict[str, Any] = {
        field.name: None if (x := getattr(layer, field.name)) is None else x[span]
        for field in fields(layer)
        if field.name not in ("keys", "values")
    }
    return replace(layer, **per_prompt)
