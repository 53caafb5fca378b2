"""Gradients of log p(target) in what the LM head reads, without cancellation or underflow.

``d log p_t / dz = e_t - p`` over the logits z, so the gradient in the head's input is
``W_t - p W``. Of a confident target that is a difference of nearly equal vectors: what is left has
the size of 1 - p, below the rounding of half-precision factors and soon of float32. With the
likeliest token taken out of p, q = p without it and ``rest`` the sum of q, the same gradient is

    rest W_top - q W                      where the target is the likeliest token,
    W_t - W_top + (rest W_top - q W)      where it is not (its own part of q is at most a half).

Gradients of p differ by the factor p_t, which would take an unlikely target's out of the range of
half precision and then of float32. They are linear in it, so it is multiplied in at the very end;
so is ``rest`` of a confident target, by which its gradient is divided meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def readout_gradient(
    logprob: Tensor,
    targets: Tensor,
    picked: Callable[[Tensor], Tensor],
    product: Callable[[Tensor], Tensor],
    *,
    slope: Tensor | None = None,
    log: bool = False,
) -> tuple[Tensor, Tensor]:
    """Gradient of p(target) in the head's input, of the order of the head's rows, and its factor.

    Parameters
    ----------
    logprob : Tensor [P, V]
        Base log-probabilities.
    targets : Tensor [P, K] int64
    picked : callable
        Tokens [n] -> rows [n, H] of the head's matrix W in the state dtype.
    product : callable
        Rows [P, V] -> their products [P, H] with W.
    slope : Tensor [P, V], optional
        Slope of a soft-cap at each logit.
    log : bool
        Of log p(target) instead.

    Returns
    -------
    gradient [P * K, H], factor [P * K, 1]
        The gradient is their product.
    """
    P, K = targets.shape
    top, share, rest = _without_top(logprob)
    chosen = torch.cat([top, targets], 1)
    rows = picked(chosen.flatten()).view(P, 1 + K, -1)
    if slope is not None:
        share, rows = share * slope, rows * slope.gather(1, chosen).unsqueeze(-1)
    confident = rows[:, :1] - product(share).unsqueeze(1)
    other = rows[:, 1:] - rows[:, :1] + rest.unsqueeze(-1) * confident
    gradient = torch.where((targets == top).unsqueeze(-1), confident, other)
    factor = _factor(logprob, targets, top, rest, log)
    return gradient.reshape(P * K, -1), factor.reshape(P * K, 1)


@torch.no_grad()
def cotangent(logprob: Tensor, targets: Tensor, *, log: bool = False) -> tuple[Tensor, Tensor]:
    """What to take back through a graph from ``logprob`` [P, V], and the factor of what comes out.

    It sums to zero over the vocabulary, so that the softmax passes it on as it is.

    Parameters
    ----------
    targets : Tensor [P] int64
    log : bool
        Of log p(target) instead of p(target).

    Returns
    -------
    cotangent [P, V], factor [P, 1]
    """
    target = targets[:, None]
    top, share, rest = _without_top(logprob)
    confident = share.neg().scatter_(1, top, 1)
    one = torch.ones_like(rest)
    other = (rest * confident).scatter_add_(1, top, -one).scatter_add_(1, target, one)
    return torch.where(target == top, confident, other), _factor(logprob, target, top, rest, log)


def answer_cotangent(
    logprob: Tensor, tokens: Tensor, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """:func:`cotangent` [..., T, V] of a whole answer, from ``logprob`` [..., T, V] of its tokens.

    Parameters
    ----------
    tokens : Tensor [T] int64
        -1 where none is read.

    Returns
    -------
    cotangent [..., T, V], factor [..., 1]
        The positions share the largest of their factors, times the probability of the answer.
    """
    several, ids = logprob.shape[:-1], tokens.clamp(min=0).expand(logprob.shape[:-1])
    flat = logprob.detach().flatten(0, -2)
    found, own = cotangent(flat, ids.flatten(), log=True)
    own = own.view(several).masked_fill(tokens < 0, 0)
    factor = own.amax(-1, keepdim=True)
    share = own / factor.clamp_min(torch.finfo(own.dtype).tiny)
    found = found.view(logprob.shape) * share.unsqueeze(-1)
    if not log:
        said = logprob.detach().gather(-1, ids.unsqueeze(-1))[..., 0].masked_fill(tokens < 0, 0)
        factor = factor * said.double().sum(-1, keepdim=True).exp().to(factor)
    return found, factor


def _without_top(logprob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Likeliest token [P, 1], how the others [P, V] share what it leaves, and that: rest [P, 1]."""
    top = logprob.argmax(1, keepdim=True)
    q = logprob.exp().scatter_(1, top, 0)
    rest = q.sum(1, keepdim=True)
    # Where it leaves nothing, all gradients are 0 whatever the shares.
    return top, q / rest.clamp_min(torch.finfo(q.dtype).tiny), rest


def _factor(logprob: Tensor, targets: Tensor, top: Tensor, rest: Tensor, log: bool) -> Tensor:
    """What the gradients of ``targets`` [P, K] still lack: p, and ``rest`` of a confident one."""
    factor = torch.where(targets == top, rest, torch.ones_like(rest)).double()
    if not log:
        factor = factor * logprob.gather(1, targets).double().exp()
    return factor.to(logprob.dtype)
