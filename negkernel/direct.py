"""Direct effect of every neuron: what its own output adds to log p(target) at its layer.

Log-probability increase (Yu & Ananiadou, 2024): with x the residual stream after a layer's
attention, v the ``down_proj`` column of a neuron and m its activation after the nonlinearity,
``log p(t | x + m v) - log p(t | x)``, read by the final norm and the LM head; no later layer runs.
With the norm's statistic frozen the logits are affine in m, so one product of columns and
vocabulary serves all prompts, tile by tile, and never exists whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.delta import layer_activation
from negkernel.families.parts import Block, Decoder, Precision
from negkernel.ops.logprob import logprob
from negkernel.ops.norm import norm as delta_norm
from negkernel.trace import Trace, cap

NORMS = ("frozen", "recomputed")
# A tile of the product of columns and vocabulary: 64 MiB in float32.
NEURONS = 4096
VOCABULARY = 4096


@torch.no_grad()
def direct_effects(
    decoder: Decoder, base: Trace, targets: Tensor, *, norm: str, precision: Precision
) -> Iterator[tuple[int, Tensor]]:
    """Log-probability increase of each layer's neurons.

    Parameters
    ----------
    targets : Tensor [P, K] int64
    norm : {"frozen", "recomputed"}
        Whether the final norm divides by the statistic of the model's own final state, or by that
        of the vector it is given.

    Yields
    ------
    layer, increase [P, K, I]
        In nats.

    Raises
    ------
    ValueError
        An unknown ``norm``.
    NotImplementedError
        A norm stands between a neuron's output and the residual stream, so that no one column is
        what the neuron adds.
    """
    if norm not in NORMS:
        raise ValueError(f"norm {norm!r} is unknown; expected 'frozen' or 'recomputed'")
    for index, block in enumerate(decoder.blocks):
        if block.mlp_out is not None or block.mlp_sum is not None:
            raise NotImplementedError(
                f"layer {index} norms its MLP's output, so a neuron adds no vector of its own to "
                "the residual stream; the log-probability increase is not defined for this model"
            )
        hidden = layer_activation(decoder, base, index, "post")
        if norm == "frozen" and decoder.softcap is None:
            yield index, _frozen(decoder, block, base, index, hidden, targets, precision)
        else:
            yield index, _by_row(decoder, block, base, index, hidden, targets, norm, precision)


def _frozen(
    decoder: Decoder,
    block: Block,
    base: Trace,
    index: int,
    hidden: Tensor,
    targets: Tensor,
    precision: Precision,
) -> Tensor:
    """All prompts at once: logits are z0 + m s (W_head u) with one u per neuron."""
    scale = _statistic(decoder, base)
    columns = _columns(block, precision).to(scale.device)
    u = _gained(decoder, columns, precision) * decoder.logit_scale
    x = base.layers[index].x_mid.to(scale.device)
    z0 = decoder.head.affine(_gained(decoder, x, precision) * scale, precision)
    start = torch.log_softmax(z0 * decoder.logit_scale, dim=-1)
    p = start.exp()
    coefficient = hidden.to(scale.device) * scale  # [P, I]
    I, V = hidden.shape[1], start.shape[1]
    total = torch.zeros_like(coefficient)
    head, targets = decoder.head.weight, targets.to(scale.device)
    for first in range(0, V, VOCABULARY):
        tile = slice(first, min(first + VOCABULARY, V))
        for low in range(0, I, NEURONS):
            some = slice(low, low + NEURONS)
            product = precision.matmul(u[some], head[tile])
            total[:, some] += _mean_expm1(product, coefficient[:, some], p[:, tile])
    picked = precision.rounded(head[targets])  # [P, K, H]
    change = torch.einsum("pkh,ih->pki", picked, precision.rounded(u)) * coefficient[:, None]
    increase = change - torch.log1p(total)[:, None]
    # Where much mass moves, 1 + total has cancelled or overflowed: those few rows have a maximum
    # subtracted instead.
    moved = ~(total.abs() <= 0.5)
    for own in torch.nonzero(moved.any(1))[:, 0].tolist():
        for rows in torch.nonzero(moved[own])[:, 0].split(NEURONS):
            dz = precision.matmul(u[rows], head) * coefficient[own, rows, None]
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
    decoder: Decoder,
    block: Block,
    base: Trace,
    index: int,
    hidden: Tensor,
    targets: Tensor,
    norm: str,
    precision: Precision,
) -> Tensor:
    """Each prompt and neuron as a row of its own, through the ops of the delta forward."""
    device = base.x_final.device
    columns, hidden = _columns(block, precision).to(device), hidden.to(device)
    x = base.layers[index].x_mid.to(device)
    final, frozen = decoder.final_norm, norm == "frozen"
    scale = _statistic(decoder, base)
    if frozen or final is None:
        n = _gained(decoder, x, precision) * scale
    elif decoder.projection is None:
        n = final(x, precision)
    else:
        n = decoder.projection.affine(final(x, precision), precision)
    logits = decoder.head.affine(n, precision)
    start = torch.log_softmax(cap(logits, decoder.logit_scale, decoder.softcap), dim=-1)
    (P, I), K = hidden.shape, targets.shape[1]
    increase = x.new_empty(P, K, I)
    head = decoder.head.weight

    def tile(first: int, stop: int) -> Tensor:
        return precision.rounded(head[first:stop])

    for own in range(P):
        row = torch.zeros(I, dtype=torch.int64, device=device)
        d = columns * hidden[own, :, None]
        if frozen or final is None:
            dn = _gained(decoder, d, precision) * scale[own]
        else:
            gain = final.gain(precision)
            dn = delta_norm(x[own : own + 1], d, row, weight=gain, eps=final.eps, kind=final.kind)
            if decoder.projection is not None:
                dn = decoder.projection.linear(dn, precision)
        increase[own] = logprob(
            precision.rounded(dn),
            tile,
            start[own : own + 1],
            targets[own : own + 1].to(device),
            row,
            scale=decoder.logit_scale,
            softcap=decoder.softcap,
            base_logits=None if decoder.softcap is None else logits[own : own + 1],
        ).t()
    return increase


def _columns(block: Block, precision: Precision) -> Tensor:
    """What a unit of each neuron adds to the residual stream: [I, H]."""
    columns = block.mlp.down.weight.t().to(precision.state)
    return columns if block.residual_scale == 1.0 else columns * block.residual_scale


def _statistic(decoder: Decoder, base: Trace) -> Tensor:
    """What the final norm multiplied each prompt's final state by: [P, 1]."""
    x, final = base.x_final, decoder.final_norm
    if final is None:
        return torch.ones_like(x[:, :1])
    x = x - x.mean(-1, keepdim=True) if final.kind == "layer" else x
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + final.eps)


def _gained(decoder: Decoder, x: Tensor, precision: Precision) -> Tensor:
    """Apply the linear part of the final norm, without its statistic and its bias, to [R, H]."""
    final = decoder.final_norm
    if final is not None:
        x = x - x.mean(-1, keepdim=True) if final.kind == "layer" else x
        gain = final.gain(precision)
        x = x if gain is None else x * gain
    return x if decoder.projection is None else decoder.projection.linear(x, precision)
