"""Refine curves of prompts that are computed once and then shifted in small portions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from negkernel.methods.base import Opened
from negkernel.request.rows import Rows
from negkernel.spectral.estimate import STATE_ROUNDING
from negkernel.spectral.frugal import Neurons, frugal
from negkernel.spectral.refine import Accuracy, Curves, Evaluate, refine

# Curves refined together: enough rows to fill a batch at every level, few enough to hold.
CURVES = 8192


def only(opened: Opened, prompt: int) -> Opened:
    """Restrict to one prompt of the group."""

    def shifted(rows: Rows) -> Tensor:
        return opened.shifted(replace(rows, prompt=rows.prompt + prompt))

    chosen = slice(prompt, prompt + 1)
    reach = opened.reach
    return replace(
        opened,
        first=opened.first + prompt,
        last=opened.first + prompt + 1,
        base_logprob=opened.base_logprob[chosen],
        activation=opened.activation[chosen],
        slope=None if opened.slope is None else opened.slope[chosen],
        shifted=shifted,
        reach=None if reach is None else lambda layers: reach(layers)[chosen],
    )


def map_curves(
    opened: Opened, neurons: np.ndarray, shifts: np.ndarray, *, tol: float, eps: float
) -> Curves:
    """Curves of ``neurons`` [n, 2] of one opened prompt at the paper's grid, see :func:`frugal`."""
    layer, index = neurons.T
    block = slice(int(layer.min()), int(layer.max()) + 1)
    known = Neurons(
        layer=layer,
        base_logprob=np.repeat(_base(opened), len(layer), axis=0),
        slope=None if opened.slope is None else opened.slope[0].numpy()[:, layer, index].T,
        reach=None
        if opened.reach is None
        else opened.reach(block)[0].numpy()[layer - block.start, index],
    )
    evaluate = _evaluate(opened, np.zeros(len(layer), dtype=np.int64), layer, index)
    return frugal(evaluate, known, shifts, _accuracy(opened, tol, eps))


def curves(
    opened: Opened, neurons: np.ndarray, shifts: np.ndarray, *, tol: float, eps: float
) -> Curves:
    """Curves of ``neurons`` [p, N, 2] in the order of [p, N], see :func:`refine`."""
    P, N, _ = neurons.shape
    prompt = np.repeat(np.arange(P), N)
    layer, index = neurons.reshape(-1, 2).T
    slope = None if opened.slope is None else opened.slope.numpy()[prompt, :, layer, index]
    parts = []
    for first in range(0, P * N, CURVES):
        some = slice(first, first + CURVES)
        parts.append(
            refine(
                _evaluate(opened, prompt[some], layer[some], index[some]),
                None if slope is None else slope[some],
                _base(opened)[prompt[some]],
                shifts,
                _accuracy(opened, tol, eps),
            )
        )
    return Curves.joined(parts)


def _base(opened: Opened) -> np.ndarray:
    """Log-probs [p, K] of the targets, which are watched first."""
    watched = opened.base_logprob.numpy()
    return watched[:, : watched.shape[1] // 2]


def _accuracy(opened: Opened, tol: float, eps: float) -> Accuracy:
    return Accuracy(tol, eps, noise=STATE_ROUNDING * opened.state_eps)


def _evaluate(opened: Opened, prompt: np.ndarray, layer: np.ndarray, index: np.ndarray) -> Evaluate:
    """Shift the neurons of n curves."""

    def evaluate(which: np.ndarray, x: np.ndarray) -> np.ndarray:
        item = np.repeat(which, x.shape[1])
        rows = Rows(
            prompt=torch.from_numpy(prompt[item]),
            start=torch.arange(len(item) + 1),
            layer=torch.from_numpy(layer[item]),
            neuron=torch.from_numpy(index[item]),
            amount=torch.from_numpy(x.flatten()),
        )
        return opened.shifted(rows).numpy().reshape(*x.shape, -1)

    return evaluate
