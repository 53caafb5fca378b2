"""Direct effect of every neuron: what its own output adds to log p(target) at its layer.

Log-probability increase (Yu & Ananiadou, 2024): with x the residual stream after a layer's
attention, v the ``down_proj`` column of a neuron and m its activation after the nonlinearity,
``log p(t | x + m v) - log p(t | x)``, read by the final norm and the LM head; no later layer runs.
With the norm's statistic frozen the logits are affine in m, so one product of columns and
vocabulary serves all prompts, tile by tile, and never exists whole.

Where a layer norms its MLP's output (Gemma 2, OLMo 2) or the sum (OPT-350m), v and x pass that
norm with the statistic it had in the model: what the neuron adds in a forward is exactly its share
of the normed vector, m times a column that only a factor of the prompt scales. A norm taken of one
neuron's output alone would lose m.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.arguments import check_choice
from negkernel.delta.trace import LayerTrace, Trace, base_logprob
from negkernel.families.parts import Block, Description, Norm
from negkernel.families.resident import resident
from negkernel.ops.logprob import logprob
from negkernel.ops.norm import norm as delta_norm

NORMS = ("frozen", "recomputed")
# A tile of the product of columns and vocabulary. Its powers are read again and again: on a CPU
# 4 MiB in float32 stay in the caches, which saves a fifth of all time; a GPU wants few launches.
VOCABULARY = 4096
NEURONS, NEURONS_ON_GPU = 256, 4096


@torch.no_grad()
def direct_effects(
    model: Description, base: Trace, targets: Tensor, *, norm: str
) -> Iterator[tuple[int, Tensor]]:
    """Log-probability increase of each layer's neurons.

    Parameters
    ----------
    targets : Tensor [P, K] int64
    norm : {"frozen", "recomputed"}
        Whether the final norm divides by the statistic of the model's own final state, or by that
        of the vector it is given. A layer's own norms are frozen in both.

    Yields
    ------
    layer, increase [P, K, I]
        In nats.

    Raises
    ------
    ValueError
        An unknown ``norm``.
    """
    check_choice("norm", norm, NORMS)
    for index, block in enumerate(model.blocks):
        layer = base.layers[index]
        with resident(block.loaders):
            added = _added(block, layer, layer.inner.hidden).to(base.head.x_final.device)
        with resident(model.head_loaders):
            if norm == "frozen" and model.softcap is None:
                found = _frozen(model, base, added, targets)
            else:
                found = _by_row(model, base, added, targets, norm)
        yield index, found


@dataclass(frozen=True)
class Added:
    """What a layer's neurons add to the residual stream: ``coefficient`` times ``columns``.

    Attributes
    ----------
    x : Tensor [P, H]
        The stream that they add to.
    columns : Tensor [I, H]
    coefficient : Tensor [P, I]
    """

    x: Tensor
    columns: Tensor
    coefficient: Tensor

    def to(self, device: torch.device) -> Added:
        """Move everything to where the final norm and the head are."""
        return Added(self.x.to(device), self.columns.to(device), self.coefficient.to(device))


def _added(block: Block, base: LayerTrace, hidden: Tensor) -> Added:
    """Take columns and stream through the layer's own norms, at the statistics of the forward."""
    x, coefficient = base.x_mid, hidden
    columns = block.mlp.down.weight.t().to(block.precision.state)
    if block.mlp_out is not None and base.mlp_out is not None:
        columns = _gained(block.mlp_out, columns)
        coefficient = coefficient * _statistic(block.mlp_out, base.mlp_out)
    if block.residual_scale != 1.0:
        columns = columns * block.residual_scale
    if block.mlp_sum is not None and base.mlp_sum is not None:
        scale = _statistic(block.mlp_sum, base.mlp_sum)
        columns, coefficient = _gained(block.mlp_sum, columns), coefficient * scale
        x = _normed(block.mlp_sum, x, scale)
    return Added(x, columns, coefficient)


def _frozen(model: Description, base: Trace, added: Added, targets: Tensor) -> Tensor:
    """All prompts at once: logits are z0 + m s (W_head u) with one u per neuron."""
    scale = _statistic(model.final_norm, base.head.x_final)
    u = _read(model, added.columns) * model.logit_scale
    z0 = model.head.affine(_read_state(model, added.x, scale))
    start = base_logprob(model, z0)
    p = start.exp()
    coefficient = added.coefficient * scale  # [P, I]
    I, V = len(u), start.shape[1]
    total = torch.zeros_like(coefficient)
    head, targets = model.head.weight, targets.to(scale.device)
    step = NEURONS if scale.device.type == "cpu" else NEURONS_ON_GPU
    for first in range(0, V, VOCABULARY):
        tile = slice(first, min(first + VOCABULARY, V))
        for low in range(0, I, step):
            some = slice(low, low + step)
            product = model.precision.matmul(u[some], head[tile])
            total[:, some] += _mean_expm1(product, coefficient[:, some], p[:, tile])
    picked, rounded = (model.precision.rounded(x) for x in (head[targets], u))  # [P, K, H]
    change = torch.einsum("pkh,ih->pki", picked, rounded) * coefficient[:, None]
    increase = change - torch.log1p(total)[:, None]
    # Where much mass moves, 1 + total has cancelled or overflowed: those few rows have a maximum
    # subtracted instead.
    moved = ~(total.abs() <= 0.5)
    for own in torch.nonzero(moved.any(1))[:, 0].tolist():
        for rows in torch.nonzero(moved[own])[:, 0].split(step):
            dz = model.precision.matmul(u[rows], head) * coefficient[own, rows, None]
            normaliser = torch.logsumexp(start[own] + dz, dim=1)
            increase[own][:, rows] = dz[:, targets[own]].t() - normaliser
    return increase


def _mean_expm1(product: Tensor, coefficient: Tensor, p: Tensor) -> Tensor:
    """``sum_v p_v expm1(c x_v)`` for products x [n, v], coefficients c [P, n] and p [P, v]: [P, n].

    ``sum_k c^k / k! sum_v p_v x_v^k``: the powers are taken once for all prompts. The series stops
    at the rounding of its largest argument; rows that reach beyond 1 are done one by one.
    """
    eps = torch.finfo(product.dtype).eps
    reach = coefficient.abs() * torch.maximum(-product.amin(1), product.amax(1))
    far = ~(reach <= 1)
    largest = float(reach.masked_fill(far, 0).amax())
    term = coefficient
    total = term * F.linear(product, p).t()  # p @ product.t() would run several times slower
    power, order = product.clone(), 2
    while largest ** (order - 1) / math.factorial(order) > eps:
        power *= product
        term = term * coefficient / order
        total += term * F.linear(power, p).t()
        order += 1
    for own in torch.nonzero(far.any(1))[:, 0].tolist():
        rows = torch.nonzero(far[own])[:, 0]
        x = product[rows] * coefficient[own, rows, None]
        total[own, rows] = x.expm1_() @ p[own]
    return total


def _by_row(
    model: Description,
    base: Trace,
    added: Added,
    targets: Tensor,
    norm: str,
) -> Tensor:
    """Each prompt and neuron as a row of its own, through the ops of the delta forward."""
    x, columns, hidden, device = added.x, added.columns, added.coefficient, added.x.device
    final, frozen = model.final_norm, norm == "frozen"
    scale = _statistic(final, base.head.x_final)
    if frozen or final is None:
        n = _read_state(model, x, scale)
    elif model.projection is None:
        n = final(x)
    else:
        n = model.projection.affine(final(x))
    logits = model.head.affine(n)
    start = base_logprob(model, logits)
    (P, I), K = hidden.shape, targets.shape[1]
    increase = x.new_empty(P, K, I)
    head = model.head.weight

    def tile(first: int, stop: int) -> Tensor:
        return head[first:stop].to(model.precision.operand)

    for p in range(P):
        row = torch.zeros(I, dtype=torch.int64, device=device)
        d = columns * hidden[p, :, None]
        if frozen or final is None:
            dn = _read(model, d) * scale[p]
        else:
            gain = final.gain()
            dn = delta_norm(x[p : p + 1], d, row, weight=gain, eps=final.eps, kind=final.kind)
            if model.projection is not None:
                dn = model.projection.linear(dn)
        increase[p] = logprob(
            model.precision.rounded(dn),
            tile,
            start[p : p + 1],
            targets[p : p + 1].to(device),
            row,
            scale=model.logit_scale,
            softcap=model.softcap,
            base_logits=None if model.softcap is None else logits[p : p + 1],
        ).t()
    return increase


def _statistic(norm: Norm | None, x: Tensor) -> Tensor:
    """What ``norm`` multiplies each of ``x`` [P, H] by: [P, 1]."""
    if norm is None:
        return torch.ones_like(x[:, :1])
    x = x - x.mean(-1, keepdim=True) if norm.kind == "layer" else x
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps)


def _gained(norm: Norm, x: Tensor) -> Tensor:
    """Apply the linear part of a norm, without its statistic and its bias, to [R, H]."""
    x = x - x.mean(-1, keepdim=True) if norm.kind == "layer" else x
    gain = norm.gain()
    return x if gain is None else x * gain


def _normed(norm: Norm, x: Tensor, statistic: Tensor) -> Tensor:
    """Apply a norm whose ``statistic`` [P, 1] is given to states [P, H]."""
    x = _gained(norm, x) * statistic
    bias = getattr(norm.module, "bias", None)
    return x if bias is None else x + bias.detach().to(x)


def _read(model: Description, x: Tensor) -> Tensor:
    """Take what is added, [R, H], to the head's input, but for the final norm's statistic."""
    x = x if model.final_norm is None else _gained(model.final_norm, x)
    return x if model.projection is None else model.projection.linear(x)


def _read_state(model: Description, x: Tensor, statistic: Tensor) -> Tensor:
    """Take states [P, H] to the head's input with the final norm's ``statistic`` [P, 1] given."""
    x = x if model.final_norm is None else _normed(model.final_norm, x, statistic)
    return x if model.projection is None else model.projection.affine(x)
