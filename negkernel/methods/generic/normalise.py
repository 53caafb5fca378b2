"""Norms and softmaxes over an axis."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negkernel.methods.generic.carrier import Carried, base_of, carried, differs, rule
from negkernel.methods.generic.structure import computed_twice
from negkernel.ops.attention.reference import weight_difference
from negkernel.ops.norm import norm


@rule("softmax", "special_softmax")
def softmax(func: Any, x: Any, dim: int = -1, *_: Any, **__: Any) -> Any:
    """``p (e - E) / (1 + E)`` for ``e = expm1(d)`` and ``E = sum p e``; see the attention op.

    A dtype that is asked for is that of states.
    """
    base = x.base.softmax(dim)
    if x.rows is None:
        return Carried(base)
    at = dim % x.base.dim()
    score, weight = x.base.movedim(at, -1), base.movedim(at, -1)
    rows = x.dense().movedim(at + 1, -1)
    rows = torch.where(torch.isneginf(score), 0, rows)  # what a mask hides stays hidden
    return Carried(base, weight_difference(score, weight, rows).movedim(-1, at + 1))


@rule("log_softmax", "special_log_softmax")
def log_softmax(func: Any, x: Any, dim: int = -1, *_: Any, **__: Any) -> Any:
    """``d - log1p(sum p expm1(d))``."""
    base = x.base.log_softmax(dim)
    if x.rows is None:
        return Carried(base)
    at = dim % x.base.dim()
    return Carried(base, logprob_difference(base, x.dense(), at))


def logprob_difference(logprob: Tensor, change: Tensor, dim: int) -> Tensor:
    """Changes of log-probs along ``dim`` for changes [R, ...] of their logits."""
    total = logprob_mass(logprob, change, dim + 1)
    return change - total


def logprob_mass(logprob: Tensor, change: Tensor, dim: int) -> Tensor:
    """``log sum p e^d``: ``log1p(sum p expm1(d))``, or plainly where much of the mass moves."""
    E = (logprob.exp() * torch.expm1(change)).sum(dim, keepdim=True)
    plain = torch.logsumexp(logprob + change, dim, keepdim=True)
    return torch.where(E.abs() <= 0.5, torch.log1p(E), plain)


@rule("layer_norm")
def layer_norm(
    func: Any, x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    """The identity of :mod:`negkernel.ops.norm`; the bias cancels."""
    own = base_of(weight), base_of(bias)
    return _normed(func, x, shape, own, eps, "layer")


@rule("rms_norm")
def rms_norm(func: Any, x: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """The identity of :mod:`negkernel.ops.norm`."""
    eps = torch.finfo(x.base.dtype).eps if eps is None else eps
    return _normed(func, x, shape, (base_of(weight),), eps, "rms")


def _normed(func: Any, x: Any, shape: Any, weights: Any, eps: float, kind: str) -> Any:
    if len(shape) != 1 or not isinstance(x, Carried) or differs(*weights):
        return computed_twice(func, x, shape, *weights, eps)
    base = func(x.base, shape, *weights, eps)
    if x.rows is None:
        return carried(base)
    rows = x.dense()
    assert rows is not None
    H = x.base.shape[-1]
    states, flat = x.base.reshape(-1, H), rows.reshape(-1, H)
    prompt = torch.arange(len(states), device=flat.device).repeat(len(rows))
    dn = norm(states, flat, prompt, weight=weights[0], eps=eps, kind=kind)
    return Carried(base, dn.view(rows.shape))


@rule("var")
def variance(
    func: Any,
    x: Any,
    dim: Any = None,
    *,
    unbiased: bool = True,
    correction: int | None = None,
    keepdim: bool = False,
) -> Any:
    """``mean of c_d (2 c_x + c_d)`` with value and difference about their means."""
    correction = int(unbiased) if correction is None else correction
    base = x.base.var(dim, correction=correction, keepdim=keepdim)
    if x.rows is None or not isinstance(dim, int):
        return Carried(base) if x.rows is None else computed_twice(func, x, dim, keepdim=keepdim)
    at = dim % x.base.dim()
    rows = x.dense()
    centred, moved = x.base - x.base.mean(at, True), rows - rows.mean(at + 1, True)
    total = (moved * (2 * centred + moved)).sum(at + 1, keepdim)
    return Carried(base, total / (x.base.shape[at] - correction))


@rule("logsumexp")
def logsumexp(func: Any, x: Any, dim: int, keepdim: bool = False) -> Any:
    """``log sum p e^d`` for ``p`` the softmax."""
    base = x.base.logsumexp(dim, keepdim)
    if x.rows is None:
        return Carried(base)
    at = dim % x.base.dim()
    mass = logprob_mass(x.base.log_softmax(at), x.dense(), at + 1)
    return Carried(base, mass if keepdim else mass.squeeze(at + 1))


@rule("norm", "vector_norm")
def length(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """``|x + d| - |x| = d (2 x + d) / (|x + d| + |x|)``, summed over the axis."""
    dim, keepdim = kwargs.get("dim"), kwargs.get("keepdim", False)
    order = args[0] if args else kwargs.get("p", kwargs.get("ord", 2))
    if order != 2 or not isinstance(dim, int) or len(args) > 1:
        return computed_twice(func, x, *args, **kwargs)
    base = x.base.norm(dim=dim, keepdim=keepdim)
    if x.rows is None:
        return Carried(base)
    at, rows = dim % x.base.dim(), x.dense()
    total = (rows * (2 * x.base + rows)).sum(at + 1, keepdim)
    lengths = x.values().norm(dim=at + 1, keepdim=keepdim) + base
    return Carried(base, torch.where(lengths == 0, 0, total / lengths))
