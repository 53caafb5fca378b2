"""Take differences of the last layer's output to log-probs, and gradients back from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from negkernel.delta.attend import norm_alone
from negkernel.delta.layer import Stream, norm_step
from negkernel.delta.trace import HeadTrace, Trace
from negkernel.delta.vjp import through_norm
from negkernel.families.activations import activate_slope
from negkernel.families.parts import Description
from negkernel.methods.readings import Base, from_differences
from negkernel.methods.readout_vjp import readout_gradient
from negkernel.ops.logprob import logprob
from negkernel.ops.mlp import mlp
from negkernel.request.answers import where_read
from negkernel.sites import Spot


@dataclass(frozen=True)
class Wanted:
    """What is read off rows.

    Attributes
    ----------
    targets : Tensor [Q, C] int64
        Columns of the traced prompts, see :mod:`negkernel.request.answers`.
    spot : Spot
        What a row's numbers move.
    readings : bool
        Read off everything that :mod:`negkernel.methods.readings` lists, not log p alone.
    """

    targets: Tensor
    spot: Spot
    readings: bool = False

    @property
    def columns(self) -> int:
        """Numbers that are read off each row."""
        C = self.targets.shape[1]
        return 2 * C + 2 if self.readings else C


def read_rows(model: Description, base: HeadTrace, stream: Stream, wanted: Wanted) -> Tensor:
    """Changes of log p [r, C] of rows, summed over the positions that are read, or their readings.

    ``stream`` carries a difference [H] for each row and position, ``base`` the positions.
    """
    at = stream.at
    change = _read(model, base, stream, wanted)
    if len(change) == len(stream.row):
        return change
    out = change.new_zeros(len(stream.row), change.shape[1])
    return out.index_add_(0, at.row.to(change.device), change)


def _read(model: Description, base: HeadTrace, stream: Stream, wanted: Wanted) -> Tensor:
    """Changes of log p [D, C] at each position that is read."""
    device, at = base.x_final.device, stream.at
    stream.to(device)
    each = at.rows.repeat_interleave(at.places.start.diff())
    prompt = torch.arange(len(base.logprob)).repeat_interleave(each).to(device)
    stream.at = type(at)(at.places, at.rows, prompt)
    dn = norm_step(model.final_norm, base.x_final, stream)
    if model.projection is not None:
        dn = model.projection.linear(dn)
    if model.activation is not None and base.up is not None:
        dn = mlp(None, base.up, None, dn, prompt, activation=model.activation)
    dn = norm_alone(model.head_norm, base.norm_in, dn, prompt)
    precision, head = model.precision, model.head.weight

    def tile(start: int, stop: int) -> Tensor:
        return head[start:stop].to(precision.operand)

    dn, targets = precision.rounded(dn), wanted.targets.to(device)
    options: dict[str, Any] = {"scale": model.logit_scale, "softcap": model.softcap}
    if model.softcap is not None:
        options["base_logits"] = base.logits
    if wanted.readings:
        picked = precision.rounded(head[targets])
        centre = precision.exact(base.logprob.exp(), head.t())
        read = Base(base.logprob, targets, picked, centre)
        return from_differences(dn, tile, read, prompt, **options)
    # On a GPU one kernel takes the matrix as it is; elsewhere it is rounded tile by tile.
    whole = head.is_cuda and head.dtype == precision.operand
    matrix = head if whole else tile
    found = logprob(dn, matrix, base.logprob, targets.clamp(min=0), prompt, **options)
    return where_read(targets[prompt], found) if bool((targets < 0).any()) else found


def from_logits(
    model: Description, base: HeadTrace, targets: Tensor, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradient of p(target) in the residual stream before the final norm: [Q * C, H].

    It lacks a factor [Q * C, 1] that multiplies everything below, see
    :mod:`negkernel.methods.readout_vjp`.
    """
    P, K = targets.shape
    targets = targets.to(base.logprob.device)
    head, slope = model.head, None
    if model.softcap is not None:  # d softcap(z)/dz = 1 - tanh(z / cap)^2
        slope = torch.cosh(base.logits * (model.logit_scale / model.softcap)).pow(-2)
    g, factor = readout_gradient(
        base.logprob,
        targets,
        lambda tokens: head.weight[tokens].to(model.precision.state),
        head.transpose,
        slope=slope,
        log=log,
    )
    g = g if model.logit_scale == 1.0 else g * model.logit_scale
    prompt = torch.arange(P, device=g.device).repeat_interleave(K)
    g = through_norm(model.head_norm, base.norm_in, g, prompt)
    if model.activation is not None and base.up is not None:
        g = g * activate_slope(base.up, model.activation)[prompt]
    if model.projection is not None:
        g = model.projection.transpose(g)
    return through_norm(model.final_norm, base.x_final, g, prompt), factor


def from_answers(
    model: Description, trace: Trace, targets: Tensor, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradients of columns ``targets`` [Q, C], as :func:`from_logits` of one token each.

    Returns
    -------
    gradient [Q * C, H], factor [P * C, 1]
        In the stream at each position that is read, and what they lack there. A column's positions
        share one factor: the largest of their own, times the probability of the whole answer.
    """
    (Q, C), start = targets.shape, trace.carried.read.start
    P = len(start) - 1
    if Q == P and not bool((targets < 0).any()):
        return from_logits(model, trace.head, targets, log=log)
    g, own = from_logits(model, trace.head, targets.clamp(min=0), log=True)
    prompt = torch.repeat_interleave(torch.arange(P), start.diff()).to(own.device)
    own = where_read(targets.to(own.device), own.view(Q, C))
    index = prompt[:, None].expand(Q, C)
    factor = own.new_zeros(P, C).scatter_reduce(0, index, own, "amax")
    share = own / factor.clamp_min(torch.finfo(own.dtype).tiny)[prompt]
    if not log:
        factor = factor * trace.read_off(targets).double().exp().to(factor)
    return g * share.view(Q * C, 1), factor.view(P * C, 1)
