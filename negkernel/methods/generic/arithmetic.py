"""Sums, products and quotients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from negkernel.methods.generic.carrier import Carried, base_of, carried, differs, in_state, rule
from negkernel.methods.generic.running import current
from negkernel.methods.generic.structure import computed_twice, pad_rows


def rows_of(x: Any, axes: int) -> Tensor | None:
    """Differences [R, ...] of ``x`` with ``axes`` axes after the rows, None where none differs."""
    if not differs(x):
        return None
    if not x.floating:
        raise NotImplementedError("arithmetic on integers that rows choose")
    rows = x.dense()
    assert rows is not None
    return pad_rows(rows, axes)


@rule("add", "sub", "rsub")
def add(func: Any, x: Any, y: Any, *, alpha: float = 1, out: None = None) -> Any:
    """``(x + dx) + (y + dy) - (x + y) = dx + dy``."""
    name = func.__name__.strip("_")
    signs = {"sub": (1, -alpha), "rsub": (-alpha, 1)}.get(name, (1, alpha))
    base = in_state(_times(signs[0], base_of(x)) + _times(signs[1], base_of(y)))
    if not differs(x, y):
        return carried(base)
    total: Any = None
    for part, sign in ((x, signs[0]), (y, signs[1])):
        rows = rows_of(part, base.dim())
        if rows is not None:
            rows = _times(sign, rows)
            total = rows if total is None else total + rows
    return Carried(base, total.expand(len(total), *base.shape))


@rule("mul", "dot")
def mul(func: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """``(x + dx)(y + dy) - x y = dx (y + dy) + x dy``."""
    x0, y0 = base_of(x), base_of(y)
    base = x0 * y0
    if not differs(x, y):
        return carried(base)
    dx, dy = rows_of(x, base.dim()), rows_of(y, base.dim())
    if dx is None:
        return _full(base, x0 * dy)
    if dy is None:
        return _full(base, dx * y0)
    return _full(base, dx * (y0 + dy) + x0 * dy)


@rule("div")
def div(func: Any, x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    """``(x + dx) / (y + dy) - q = (dx - q dy) / (y + dy)`` for ``q = x / y``."""
    if rounding_mode is not None:
        return computed_twice(func, x, y, rounding_mode=rounding_mode)
    y0 = base_of(y)
    base = base_of(x) / y0
    if not differs(x, y):
        return carried(base)
    dx, dy = rows_of(x, base.dim()), rows_of(y, base.dim())
    if dy is None:
        assert dx is not None
        return _full(base, dx / y0)
    above = -base * dy if dx is None else dx - base * dy
    return _full(base, above / (y0 + dy))


@rule("matmul", "bmm", "mm", "mv")
def matmul(func: Any, x: Any, y: Any) -> Any:
    """See :func:`_product`."""
    return _product(torch.matmul, x, y)


@rule("einsum")
def einsum(func: Any, equation: str, *operands: Any) -> Any:
    """See :func:`_product`, for a product of two."""
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if len(operands) != 2:
        return computed_twice(func, equation, *operands)
    return _product(partial(torch.einsum, equation), *operands)


def _product(product: Callable[[Tensor, Tensor], Tensor], x: Any, y: Any) -> Any:
    """``(x + dx)(y + dy) - x y = dx (y + dy) + x dy`` for a product of tensors."""
    base = product(base_of(x), base_of(y))
    if not differs(x, y):
        return carried(base)
    total: Any = None
    if differs(x):
        moved = differs(y)
        dims = (0, 0 if moved else None)
        total = torch.vmap(product, in_dims=dims)(x.dense(), y.values() if moved else base_of(y))
    if differs(y):
        part = torch.vmap(product, in_dims=(None, 0))(base_of(x), y.dense())
        total = part if total is None else total + part
    return Carried(base, total)


@rule("linear")
def linear(func: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """``W (x + d) + b - (W x + b) = W d``, with operands as the run says."""
    if isinstance(weight, Carried):
        weight = transposed(weight)
        product = matmul(torch.matmul, x, weight)
        return product if bias is None else add(torch.add, product, bias)
    base = func(base_of(x), base_of(weight), base_of(bias))
    if not differs(x):
        return carried(base)
    rows = current().precision.matmul(x.dense().flatten(0, -2), weight)
    return Carried(base, rows.view(-1, *base.shape))


@rule("addmm")
def addmm(func: Any, bias: Any, x: Any, weight: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``b + x W``, as :func:`linear`: what GPT-2's projections call."""
    if differs(bias, weight) or (beta, alpha) != (1, 1):
        return computed_twice(func, bias, x, weight, beta=beta, alpha=alpha)
    return linear(torch.nn.functional.linear, x, base_of(weight).t(), bias)


@rule("pow", "square")
def power(func: Any, x: Any, exponent: Any = 2) -> Any:
    """Whole powers by ``(x + d)^n - x^n = d sum (x + d)^i x^(n-1-i)``, and roots."""
    if isinstance(exponent, Tensor) or not isinstance(x, Carried):
        return computed_twice(func, x, exponent)
    if exponent == -0.5:
        return rsqrt(torch.rsqrt, x)
    if exponent == 0.5:
        return sqrt(torch.sqrt, x)
    if exponent not in (1, 2, 3, 4):
        return computed_twice(torch.pow, x, exponent)
    base, n = x.base.pow(exponent), int(exponent)
    if x.rows is None:
        return Carried(base)
    rows, after = x.dense(), x.values()
    assert rows is not None
    terms = [after.pow(i) * x.base.pow(n - 1 - i) for i in range(n)]
    return Carried(base, rows * sum(terms[1:], terms[0]))


@rule("sqrt")
def sqrt(func: Any, x: Any) -> Any:
    """``sqrt(x + d) - sqrt(x) = d / (sqrt(x + d) + sqrt(x))``."""
    base = x.base.sqrt()
    if x.rows is None:
        return Carried(base)
    total = x.values().sqrt() + base
    # Both are 0 only where nothing changes.
    return Carried(base, torch.where(total == 0, 0, x.dense() / total))


@rule("rsqrt")
def rsqrt(func: Any, x: Any) -> Any:
    """``s' - s = -d s^2 s'^2 / (s + s')`` for ``s = x^-1/2``."""
    before = x.base.rsqrt()
    if x.rows is None:
        return Carried(before)
    after = x.values().rsqrt()
    return Carried(before, -x.dense() * before.square() * after.square() / (before + after))


@rule("reciprocal")
def reciprocal(func: Any, x: Any) -> Any:
    """``1 / (x + d) - 1 / x = -d / (x (x + d))``."""
    base = x.base.reciprocal()
    return Carried(base) if x.rows is None else Carried(base, -x.dense() * base / x.values())


def _times(sign: float, x: Any) -> Any:
    return x if sign == 1 else -x if sign == -1 else sign * x


def transposed(x: Carried) -> Carried:
    """``x`` with its last two axes exchanged."""
    rows = x.dense()
    return Carried(x.base.mT, None if rows is None else rows.mT)


def _full(base: Tensor, rows: Tensor) -> Carried:
    return Carried(base, rows.expand(len(rows), *base.shape))
