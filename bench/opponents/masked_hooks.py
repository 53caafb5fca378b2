"""One full forward of a BERT per shift, with hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.opponents.hooks import hooked_rows


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
    return hooked_rows(
        lambda batch: _logprob(model, tokens, position, target, batch),
        lambda layer: model.bert.encoder.layer[layer].intermediate,
        position,
        neurons,
        amounts,
    )


def _logprob(model: Any, tokens: list[int], position: int, target: int, batch: int) -> Tensor:
    ids = torch.tensor([tokens], device=model.device).expand(batch, -1)
    hidden = model.bert(input_ids=ids).last_hidden_state[:, position]
    return torch.log_softmax(model.cls(hidden), dim=-1)[:, target]
