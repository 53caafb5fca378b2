"""Comparisons and choices: they look at base plus difference, row by row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negkernel.methods.generic.carrier import Carried, base_of, carried, differs, rule, with_own
from negkernel.methods.generic.structure import computed_twice, count


def _in_rows(x: Any) -> Any:
    """What ``x`` is in each row [R, ...]; itself where no row differs."""
    return x.values() if differs(x) else base_of(x)


def _over_rows(func: Any, *args: Any, **kwargs: Any) -> Any:
    """``func`` of what its arguments are in each row."""
    dims = tuple(0 if differs(x) else None for x in args)
    return torch.vmap(lambda *own: func(*own, **kwargs), in_dims=dims)(*map(_in_rows, args))


@rule(
    "gt lt ge le eq ne isinf isnan isfinite logical_and logical_or logical_not logical_xor "
    "bitwise_and bitwise_or bitwise_not any all argmax argmin one_hot signbit isneginf "
    "isposinf isclose floor_divide remainder"
)
def decided(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What has no differences: the rows' own values are kept."""
    base = func(*map(base_of, args), **kwargs)
    if not differs(*args):
        return carried(base)
    values = _over_rows(func, *args, **kwargs)
    return Carried(base, values if not base.is_floating_point() else values - base)


@rule("where")
def where(func: Any, condition: Any, x: Any = None, y: Any = None) -> Any:
    """The chosen difference, and what choosing otherwise makes of the base."""
    if x is None:
        return looked_at(func, condition)
    base = torch.where(base_of(condition), base_of(x), base_of(y))
    if not differs(condition, x, y):
        return carried(base)
    zero = base.new_zeros(())

    def rows(one: Any) -> tuple[Any, Any]:
        return (one.dense(), 0) if differs(one) else (zero, None)

    (dx, in_x), (dy, in_y) = rows(x), rows(y)
    chosen = condition.rows if differs(condition) else base_of(condition)
    in_chosen = 0 if differs(condition) else None
    if in_chosen is None and in_x is None and in_y is None:
        return carried(base)
    change = torch.vmap(_chosen, in_dims=(in_chosen, in_x, in_y))(chosen, dx, dy)
    if differs(condition):
        if not bool(torch.isfinite(base).all()):
            return with_own(base, _over_rows(_chosen, condition, x, y))
        other = torch.vmap(_chosen, in_dims=(0, None, None))(chosen, base_of(x), base_of(y))
        change = change + (other - base)  # exactly 0 where the choice is the base's
    return Carried(base, change.expand(len(change), *base.shape))


@rule("topk", "sort", "max", "min", "amax", "amin")
def extreme(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Largest entries of ``x + d``: their differences, and what other entries are in the base."""
    if not differs(x):
        return carried(func(x.base, *args, **kwargs))
    base = func(x.base, *args, **kwargs)
    name = func.__name__
    if isinstance(base, Tensor):  # no axis is named, or no index is given back
        return computed_twice(func, x, *args, **kwargs)
    dim = kwargs.get(
        "dim", args[1 if name == "topk" else 0] if len(args) > (name == "topk") else -1
    )
    keepdim = name in ("topk", "sort") or kwargs.get("keepdim", False)
    if name in ("max", "min") and len(args) > 1:
        keepdim = args[1]
    values = x.values()
    _, index = torch.vmap(lambda own: tuple(func(own, *args, **kwargs)))(values)
    at = dim % x.base.dim() + 1
    full = index if keepdim else index.unsqueeze(at)
    picked = torch.take_along_dim(x.base.unsqueeze(0), full, at)
    change = x.dense().gather(at, full)
    if not keepdim:
        picked, change = picked.squeeze(at), change.squeeze(at)
    return type(base)((Carried(base[0], change + (picked - base[0])), Carried(base[1], index)))


@rule("gather", "take_along_dim")
def gather(func: Any, x: Any, dim: Any, index: Any, **_: Any) -> Any:
    """The picked difference, and what other entries are in the base."""
    if func.__name__ == "take_along_dim":
        dim, index = index, dim
    own, at = base_of(index), dim % x.dim()
    base = base_of(x).gather(at, own)
    if not differs(x, index):
        return carried(base)
    R = count(x, index)
    chosen = index.rows if differs(index) else own.expand(R, *own.shape)
    change: Any = 0
    if differs(x):
        change = x.dense().gather(at + 1, chosen)
    if differs(index):
        wide = base_of(x).expand(R, *x.shape)
        change = change + (wide.gather(at + 1, chosen) - base)
    return Carried(base, change)


@rule("scatter", "scatter_add", "index_put", "index_copy")
def scatter(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Linear in what is written where places are the same in all rows; computed twice otherwise."""
    if any(differs(one) and not one.floating for one in args if isinstance(one, Carried)):
        return computed_twice(func, x, *args, **kwargs)
    base = func(base_of(x), *map(base_of, args), **kwargs)
    if not differs(x, *args):
        return carried(base)
    R = count(x, *args)
    given = [x, *args]
    moved = [one.dense() if differs(one) else _still(base_of(one)) for one in given]
    dims = tuple(0 if differs(one) else None for one in given)
    if not differs(x):
        moved[0], dims = moved[0].expand(R, *moved[0].shape), (0, *dims[1:])
    return Carried(base, torch.vmap(func, in_dims=dims)(*moved))


@rule("item tolist nonzero numpy equal unique masked_select contains allclose is_nonzero")
def looked_at(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Hand numbers to Python, which can only follow one course for all rows."""
    for one in (x, *args):
        if differs(one) and (one.floating or not bool((one.rows == one.base).all())):
            raise NotImplementedError(f"{func.__name__} looks at values that differ between rows")
    return func(base_of(x), *map(base_of, args), **kwargs)


def _chosen(condition: Tensor, x: Any, y: Any) -> Tensor:
    return torch.where(condition, x, y)


def _still(x: Any) -> Any:
    return torch.zeros_like(x) if isinstance(x, Tensor) and x.is_floating_point() else x
