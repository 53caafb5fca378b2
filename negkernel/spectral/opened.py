"""Refine curves of prompts that are computed once and then shifted in small portions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from negkernel.methods.base import Opened
from negkernel.request.rows import Rows
from negkernel.spectral.estimate import STATE_ROUNDING
from negkernel.spectral.refine import Curves, refine

# Curves refined together: enough rows to fill a batch at every level, few enough to hold.
CURVES = 8192


def only(opened: Opened, prompt: int) -> Opened:
    """Restrict to one prompt of the group."""

    def shifted(rows: Rows) -> Tensor:
        return opened.shifted(replace(rows, prompt=rows.prompt + prompt))

    chosen = slice(prompt, prompt + 1)
    return replace(
        opened,
        first=opened.first + prompt,
        last=opened.first + prompt + 1,
        base_logprob=opened.base_logprob[chosen],
        activation=opened.activation[chosen],
        slope=None if opened.slope is None else opened.slope[chosen],
        shifted=shifted,
    )


def curves(
    opened: Opened, neurons: np.ndarray, shifts: np.ndarray, *, tol: float, eps: float
) -> Curves:
    """Curves of ``neurons`` [p, N, 2] in the order of [p, N], see :func:`refine`."""
    P, N, _ = neurons.shape
    prompt = np.repeat(np.arange(P), N)
    layer, index = neurons.reshape(-1, 2).T
    slope = None if opened.slope is None else opened.slope.numpy()[prompt, :, layer, index]
    base = opened.base_logprob.numpy()[:, : opened.base_logprob.shape[1] // 2]
    parts = []
    for first in range(0, P * N, CURVES):
        chosen = slice(first, first + CURVES)

        def evaluate(which: np.ndarray, x: np.ndarray, first: int = first) -> np.ndarray:
            item = np.repeat(first + which, x.shape[1])
            rows = Rows(
                prompt=torch.from_numpy(prompt[item]),
                start=torch.arange(len(item) + 1),
                layer=torch.from_numpy(layer[item]),
                neuron=torch.from_numpy(index[item]),
                amount=torch.from_numpy(x.flatten()),
            )
            return opened.shifted(rows).numpy().reshape(*x.shape, -1)

        parts.append(
            refine(
                evaluate,
                None if slope is None else slope[chosen],
                base[prompt[chosen]],
                shifts,
                tol=tol,
                eps=eps,
                noise=STATE_ROUNDING * opened.state_eps,
            )
        )
    return Curves(
        values=np.concatenate([part.values for part in parts]),
        error=np.concatenate([part.error for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
    )
