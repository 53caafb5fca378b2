"""Take differences of the last layer's output to log-probs, and gradients back from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from negkernel.delta.attend import norm_alone
from negkernel.delta.layer import Stream, norm_step
from negkernel.delta.trace import HeadTrace
from negkernel.delta.vjp import through_norm
from negkernel.families.activations import activate_slope
from negkernel.families.parts import Description
from negkernel.methods.readings import Base, from_differences
from negkernel.methods.readout_vjp import readout_gradient
from negkernel.ops.logprob import logprob
from negkernel.ops.mlp import mlp
from negkernel.sites import Spot


@dataclass(frozen=True)
class Wanted:
    """What is read off rows.

    Attributes
    ----------
    targets : Tensor [P, K] int64
        Target token ids of the traced prompts.
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
        K = self.targets.shape[1]
        return 2 * K + 2 if self.readings else K


def read_rows(model: Description, base: HeadTrace, stream: Stream, wanted: Wanted) -> Tensor:
    """Changes of log p [r, K] of rows at the positions that are read, or their readings.

    ``stream`` carries one difference [H] for each row, ``base`` its prompts.
    """
    device = base.x_final.device
    stream.to(device)
    prompt = torch.arange(len(base.logprob)).repeat_interleave(stream.at.rows).to(device)
    stream.at = type(stream.at)(stream.at.places, stream.at.rows, prompt)
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
    return logprob(dn, head if whole else tile, base.logprob, targets, prompt, **options)


def from_logits(
    model: Description, base: HeadTrace, targets: Tensor, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradient of p(target) in the residual stream before the final norm: [P * K, H].

    It lacks a factor [P * K, 1] that multiplies everything below, see
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
