"""Activations and other functions of each entry alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from negkernel.methods.generic.carrier import Carried, rule
from negkernel.methods.generic.structure import computed_twice
from negkernel.ops.mlp import mlp
from negkernel.ops.mlp.reference import normal_difference, relu_difference, sigmoid_difference


def _by(difference: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    """Make a rule of ``difference(x, d) = f(x + d) - f(x)``, ``x`` broadcast to the rows."""

    def act(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        base = func(x.base, *args, **kwargs)
        return Carried(base) if x.rows is None else Carried(base, difference(x.base, x.dense()))

    act.__doc__ = difference.__doc__
    return act


def _fused(name: str, x: Carried) -> Tensor:
    """Differences of one of the activations that the fused op knows."""
    rows = x.dense()
    assert rows is not None
    width = x.base.shape[-1] if x.base.dim() else 1
    base, flat = x.base.reshape(-1, width), rows.reshape(-1, width)
    prompt = torch.arange(len(base), device=flat.device).repeat(len(rows))
    return mlp(None, base, None, flat, prompt, activation=name).view(rows.shape)


@rule("silu", "relu")
def gate(func: Any, x: Any, **kwargs: Any) -> Any:
    """The identities of :mod:`negkernel.ops.mlp`."""
    base = func(x.base)
    name = func.__name__.strip("_")
    return Carried(base) if x.rows is None else Carried(base, _fused(name, x))


@rule("gelu")
def gelu(func: Any, x: Any, *, approximate: str = "none") -> Any:
    """The identities of :mod:`negkernel.ops.mlp`, of either form."""
    base = func(x.base, approximate=approximate)
    name = "gelu_tanh" if approximate == "tanh" else "gelu"
    return Carried(base) if x.rows is None else Carried(base, _fused(name, x))


def _sigmoid(x: Tensor, d: Tensor) -> Tensor:
    """``-expm1(-d) s(-x) s(x + d)``, in the form that overflows for no sign."""
    return sigmoid_difference(x, x + d, d)


def _tanh(x: Tensor, d: Tensor) -> Tensor:
    """``tanh(x + d) - tanh(x) = tanh(d) (1 - tanh(x) tanh(x + d))``, of sigmoids at the tails."""
    return 2 * sigmoid_difference(2 * x, 2 * (x + d), 2 * d)


def _exp(x: Tensor, d: Tensor) -> Tensor:
    """``e^x expm1(d)``."""
    grown = x.exp() * torch.expm1(d)
    return torch.where(d > 1, torch.exp(x + d) - x.exp(), grown)  # expm1 may overflow alone


def _log(x: Tensor, d: Tensor) -> Tensor:
    """``log1p(d / x)``."""
    return torch.log1p(d / x)


def _softplus(x: Tensor, d: Tensor) -> Tensor:
    """``log((1 + e^(x + d)) / (1 + e^x)) = log1p(s(x) expm1(d))``."""
    plain = torch.logaddexp(x + d, torch.zeros_like(d)) - torch.logaddexp(x, torch.zeros_like(x))
    return torch.where(d.abs() > 1, plain, torch.log1p(torch.sigmoid(x) * torch.expm1(d)))


def _erf(x: Tensor, d: Tensor) -> Tensor:
    """``erf`` is the normal distribution function on another scale."""
    scale = 2**0.5
    return 2 * normal_difference(x * scale, (x + d) * scale, d * scale)


def _abs(x: Tensor, d: Tensor) -> Tensor:
    """``+-d`` where the sign stays; plain where it does not: such values lie apart."""
    after = x + d
    return torch.where(x.sign() * after.sign() > 0, d * x.sign(), after.abs() - x.abs())


def _sin(x: Tensor, d: Tensor) -> Tensor:
    """``2 sin(d / 2) cos(x + d / 2)``."""
    return 2 * torch.sin(d / 2) * torch.cos(x + d / 2)


def _cos(x: Tensor, d: Tensor) -> Tensor:
    """``-2 sin(d / 2) sin(x + d / 2)``."""
    return -2 * torch.sin(d / 2) * torch.sin(x + d / 2)


rule("sigmoid", "expit")(_by(_sigmoid))
rule("tanh")(_by(_tanh))
rule("exp")(_by(_exp))
rule("log")(_by(_log))
rule("erf")(_by(_erf))
rule("abs")(_by(_abs))
rule("sin")(_by(_sin))
rule("cos")(_by(_cos))


@rule("softplus")
def softplus(func: Any, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log1p(s(x) expm1(d))``; above the threshold torch's function is the identity to 2e-9."""
    if beta != 1:
        return computed_twice(func, x, beta, threshold)
    base = func(x.base, beta, threshold)
    return Carried(base) if x.rows is None else Carried(base, _softplus(x.base, x.dense()))


@rule("clamp", "relu6", "clamp_min", "clamp_max")
def clamp(func: Any, x: Any, *bounds: Any, **kwargs: Any) -> Any:
    """The difference itself where neither end is cut, the cut ends' otherwise."""
    if any(isinstance(one, Carried) for one in (*bounds, *kwargs.values())):
        return computed_twice(func, x, *bounds, **kwargs)
    base = func(x.base, *bounds, **kwargs)
    if x.rows is None:
        return Carried(base)
    rows, values = x.dense(), x.values()
    after = func(values, *bounds, **kwargs)
    free = (base == x.base) & (after == values)
    return Carried(base, torch.where(free, rows, after - base))


@rule("leaky_relu")
def leaky_relu(func: Any, x: Any, negative_slope: float = 0.01) -> Any:
    """``s x + (1 - s) relu(x)``."""
    base = func(x.base, negative_slope)
    if x.rows is None:
        return Carried(base)
    rows = x.dense()
    return Carried(
        base, negative_slope * rows + (1 - negative_slope) * relu_difference(x.base, rows)
    )
