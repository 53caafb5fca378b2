"""One full forward per shift, with hooks: what a researcher writes first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 50


@torch.no_grad()
def hooks_rows(
    model: Any, tokens: list[int], target: int, neurons: Tensor, amounts: Tensor
) -> Tensor:
    """Differences of log p(target) by a whole forward per row, 50 of them in a batch.

    Each row moves one neuron of the up projection away from zero (axis "magnitude") at the last
    token. Only the last position's logits are computed.

    Parameters
    ----------
    neurons : Tensor [R, 2] int64
        (layer, index) of each row.
    amounts : Tensor [R]

    Returns
    -------
    Tensor [R]
        In nats; float32, or float64 for a float64 model.
    """
    return hooked_rows(
        lambda batch: _logprob(model, tokens, target, batch),
        lambda layer: model.model.layers[layer].mlp.up_proj,
        -1,
        neurons,
        amounts,
    )


def hooked_rows(
    logprob: Callable[[int], Tensor],
    module: Callable[[int], nn.Module],
    position: int,
    neurons: Tensor,
    amounts: Tensor,
) -> Tensor:
    """Differences [R] of ``logprob(batch)`` [batch] while hooks move neurons at ``position``.

    ``module(layer)`` is whose output holds the layer's neurons.
    """
    base = logprob(1)
    shifted = []
    for which, amount in zip(neurons.split(BATCH), amounts.split(BATCH), strict=True):
        with ExitStack() as stack:
            for layer in which[:, 0].unique().tolist():
                rows = torch.nonzero(which[:, 0] == layer)[:, 0]
                hook = _shift(rows, position, which[rows, 1], amount[rows])
                stack.callback(module(layer).register_forward_hook(hook).remove)
            shifted.append(logprob(len(which)))
    return (torch.cat(shifted) - base).cpu()


def _shift(rows: Tensor, position: int, neurons: Tensor, amounts: Tensor) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], values: Tensor) -> Tensor:
        at = (rows.to(values.device), position, neurons.to(values.device))
        values[at] += amounts.to(values) * values[at].sign()
        return values

    return hook


def _logprob(model: Any, tokens: list[int], target: int, batch: int) -> Tensor:
    ids = torch.tensor([tokens], device=model.device).expand(batch, -1)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return torch.log_softmax(logits.to(dtype), dim=-1)[:, target]


@torch.no_grad()
def plain_forward(model: Any, prompts: list[list[int]]) -> Tensor:
    """Logits [P, V] of the last position of prompts of one length: the least a forward costs."""
    ids = torch.tensor(prompts, device=model.device)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits
