"""One full forward of a BERT per shift, with hooks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from bench.opponents.hooks import BATCH


@torch.no_grad()
def masked_hooks_rows(
    model: Any, tokens: list[int], position: int, target: int, neurons: Tensor, amounts: Tensor
) -> Tensor:
    """Differences of log p(target) at ``position``, by a whole forward per row, 50 in a batch.

    Each row moves one activation of the intermediate layer away from zero (axis "magnitude") at
    ``position``, the mask token. The vocabulary is read at that position only.

    Parameters
    ----------
    neurons : Tensor [R, 2] int64
        (layer, index) of each row.
    amounts : Tensor [R]

    Returns
    -------
    Tensor [R]
        In nats.
    """
    base = _logprob(model, tokens, position, target, 1)
    shifted = []
    for which, amount in zip(neurons.split(BATCH), amounts.split(BATCH), strict=True):
        with ExitStack() as stack:
            for layer in which[:, 0].unique().tolist():
                rows = torch.nonzero(which[:, 0] == layer)[:, 0]
                hook = _shift(rows, position, which[rows, 1], amount[rows])
                inner = model.bert.encoder.layer[layer].intermediate
                stack.callback(inner.register_forward_hook(hook).remove)
            shifted.append(_logprob(model, tokens, position, target, len(which)))
    return (torch.cat(shifted) - base).cpu()


def _shift(rows: Tensor, position: int, neurons: Tensor, amounts: Tensor) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], inner: Tensor) -> Tensor:
        at = (rows.to(inner.device), position, neurons.to(inner.device))
        inner[at] += amounts.to(inner) * inner[at].sign()
        return inner

    return hook


def _logprob(model: Any, tokens: list[int], position: int, target: int, batch: int) -> Tensor:
    ids = torch.tensor([tokens], device=model.device).expand(batch, -1)
    hidden = model.bert(input_ids=ids).last_hidden_state[:, position]
    return torch.log_softmax(model.cls(hidden), dim=-1)[:, target]
