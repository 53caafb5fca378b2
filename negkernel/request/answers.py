"""Lay out which token of which answer is read at each position of a prompt.

What is read off a prompt are *columns*: a column is the log-prob of one token, or a sum over the
tokens of an answer, each read at a position of its own. They are written as a matrix [T, C] of
token ids, a line for each of the T positions that are read, -1 where a column takes none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def columns(answers: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """Columns [T, K + K * width] of K answers to one prompt, the i-th token at the i-th position.

    First the sums over each answer, then, where there is a ``width``, its tokens one by one: as
    many columns for each answer.
    """
    K, T = len(answers), max(map(len, answers))
    sums = np.full((T, K), -1, dtype=np.int64)
    each = np.full((T, K, width), -1, dtype=np.int64)
    for k, answer in enumerate(answers):
        for i, token in enumerate(answer):
            sums[i, k] = token
            if width:
                each[i, k, i] = token
    return np.concatenate([sums, each.reshape(T, K * width)], axis=1)


def starts(read: Sequence[Sequence[int]]) -> Tensor:
    """Where the positions that are read of each prompt begin among those of all, [P + 1]."""
    return torch.tensor([0, *map(len, read)]).cumsum(0)


def log_prob(logprob: Tensor, ids: Tensor) -> Tensor:
    """Log-probs [T, C] of columns ``ids`` [T, C], of ``logprob`` [T, V]; 0 where there is none."""
    return where_read(ids, logprob.gather(1, ids.clamp(min=0)))


def where_read(ids: Tensor, values: Tensor) -> Tensor:
    """``values`` [..., T, C] where columns ``ids`` [T, C] take a token, 0 elsewhere."""
    return values.masked_fill(ids < 0, 0) if bool((ids < 0).any()) else values


def by_prompt(values: Tensor, start: Tensor) -> Tensor:
    """Sum ``values`` [Q, ...] over the positions of each prompt [P, ...]."""
    if len(values) == len(start) - 1:
        return values
    prompt = torch.repeat_interleave(torch.arange(len(start) - 1), start.diff())
    out = values.new_zeros(len(start) - 1, *values.shape[1:])
    return out.index_add_(0, prompt.to(values.device), values)
