"""Compare gradients with the differences of shifted forwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from negkernel.judge.compare import NEURONS, Noise
from negkernel.request.rows import Rows

# Nats that the shifts along a gradient are to move log p by: a curve is straight over so little.
EFFECT = 0.1
STEPS = 4  # at most so many steps are tried, each a quarter of the last
LARGEST = 1e3  # shift of a neuron, where the gradient is next to nothing

# Row -> log p of a shifted forward minus that of the base.
Change = Callable[[Rows], float]


def slope_disagreement(
    gradient: Sequence[Tensor], change: Change, logprob: float, noise: Noise
) -> str | None:
    """Say where a gradient is not the slope of the log-prob; None if it is.

    Some neurons of every layer are shifted at once, each the way its gradient points, up and down
    by the same amount.

    Parameters
    ----------
    gradient : list of Tensor [I]
        d log p / d activation of each layer's neurons.
    change : callable
    logprob : float
        log p itself.
    noise : Noise
    """
    allowed = noise.base * (1 + abs(logprob))
    silent = [layer for layer, of in enumerate(gradient) if len(of) and not of.any()]
    if silent:  # a graph that was cut gives zeros too
        moved = change(_along(gradient, silent))
        if not abs(moved) <= 2 * allowed:
            return (
                f"it gives every neuron of layer {silent[0]} a gradient of 0, but shifts there "
                f"move log p by {moved:.2g} nat"
            )
    heard = [layer for layer, of in enumerate(gradient) if len(of) and of.any()]
    if not heard:
        return None
    row = _along(gradient, heard)
    slope = sum(
        float(gradient[layer][row.neuron[row.layer == layer]].abs().sum()) for layer in heard
    )
    step = min(max(EFFECT, 10 * allowed) / slope, LARGEST) if slope else LARGEST
    for _ in range(STEPS):
        up, down = (change(_times(row, sign * step)) for sign in (1.0, -1.0))
        measured, bent = (up - down) / 2, abs(up + down)
        share = max(0.1, 3 * noise.row) * abs(measured)
        if not abs(measured - slope * step) <= share + bent + 2 * allowed:
            return (
                f"shifts along its gradient move log p by {measured:.2g} nat where the gradient "
                f"says {slope * step:.2g}"
            )
        # Where the curve bends even so, a wrong slope may pass for a bend: look closer.
        if bent <= abs(measured) / 4 or slope * step < 40 * allowed:
            break
        step /= 4
    return None


def _along(gradient: Sequence[Tensor], layers: Sequence[int]) -> Rows:
    """One row that shifts some neurons of ``layers`` by the signs of their gradients, 1 for 0."""
    layer, neuron, amount = [], [], []
    for index in layers:
        of = gradient[index]
        chosen = torch.linspace(0, len(of) - 1, min(len(of), NEURONS)).long().unique()
        sign = of[chosen].sign()
        layer.append(torch.full_like(chosen, index))
        neuron.append(chosen)
        amount.append(torch.where(sign == 0, 1.0, sign) if not of.any() else sign)
    n = sum(map(len, neuron))
    zero = torch.zeros(1, dtype=torch.int64)
    return Rows(zero, torch.tensor([0, n]), torch.cat(layer), torch.cat(neuron), torch.cat(amount))


def _times(row: Rows, amount: float) -> Rows:
    return Rows(row.prompt, row.start, row.layer, row.neuron, row.amount * amount)
