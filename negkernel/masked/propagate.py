"""The masked delta forward: a batch of rows from their layer to log p(target).

Rows of one batch enter at one layer, so that all of them carry a difference at the same positions:
at the probed one while they enter, everywhere from the next layer's output on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.delta.layer import Entries
from negkernel.masked.carried import Carried
from negkernel.masked.layer import enter, step
from negkernel.masked.parts import Encoder
from negkernel.masked.trace import Trace
from negkernel.methods.readings import from_differences
from negkernel.ops.logprob import logprob
from negkernel.ops.mlp import mlp
from negkernel.ops.norm import norm
from negkernel.rows import Rows


@torch.no_grad()
def propagate(
    encoder: Encoder,
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
        Rows with one entry layer, sorted by prompt; ``rows.prompt`` indexes the traced prompts.
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
    first = int(rows.first_layer()[0])
    layer, base = encoder.layers[first], trace.layers[first]
    at = _on(Carried(rows.prompt, trace.probe, False, trace.length), layer.device)
    d = enter(layer, base, at, _entries(rows, first, base.up), site, axis)
    for index in range(first + 1, encoder.n_layers):
        layer, base = encoder.layers[index], trace.layers[index]
        d, at = d.to(layer.device), _on(at, layer.device)
        entries = _entries(rows, index, base.up)
        last = index == encoder.n_layers - 1
        d, at = step(layer, base, d, at, entries, site, axis, last=last)
    return _read_out(encoder, trace, d, at.prompt, targets, readings)


def _read_out(
    encoder: Encoder,
    trace: Trace,
    d: Tensor,
    prompt: Tensor,
    targets: Tensor,
    readings: bool,
) -> Tensor:
    """Take differences of the last layer's output [R, H] through the head."""
    head, device = encoder.head, trace.logprob.device
    d, prompt = d.to(device), prompt.to(device)
    final = encoder.final_norm
    if final is not None:
        gain = final.gain()
        d = norm(trace.final_norm_in, d, prompt, weight=gain, eps=final.eps, kind=final.kind)
    d = head.dense.linear(d)
    d = mlp(None, trace.head_up, None, d, prompt, activation=head.activation)
    gain = head.norm.gain()
    dn = norm(trace.head_norm_in, d, prompt, weight=gain, eps=head.norm.eps, kind=head.norm.kind)
    weight = head.decoder.weight

    def tile(start: int, stop: int) -> Tensor:
        return weight[start:stop].to(encoder.precision.operand)

    dn, targets, base = encoder.precision.rounded(dn), targets.to(device), trace.logprob
    if readings:
        picked = encoder.precision.rounded(weight[targets])
        centre = encoder.precision.exact(base.exp(), weight.t())
        return from_differences(dn, tile, picked, centre, base, targets, prompt)
    # On a GPU one kernel takes the matrix as it is; elsewhere it is rounded tile by tile.
    whole = weight.is_cuda and weight.dtype == encoder.precision.operand
    return logprob(dn, weight if whole else tile, base, targets, prompt)


def _entries(rows: Rows, layer: int, like: Tensor) -> Entries:
    """Return this layer's entries; their ``row`` is the position in the batch."""
    here = rows.layer == layer
    return Entries(
        row=rows.entry_row[here].to(like.device),
        neuron=rows.neuron[here].to(like.device),
        amount=rows.amount[here].to(like),
        signs=rows.signs,
    )


def _on(at: Carried, device: torch.device) -> Carried:
    return Carried(at.prompt.to(device), at.probe.to(device), at.everywhere, at.length)
