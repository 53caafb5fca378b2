"""Move entries about and add them up: what is linear acts on differences as on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from negkernel.methods.generic.carrier import (
    Carried,
    base_of,
    carried,
    differs,
    in_state,
    rule,
    with_own,
)
from negkernel.methods.generic.running import current


@rule(
    "view reshape transpose permute contiguous clone flatten unflatten squeeze unsqueeze "
    "expand_as repeat repeat_interleave chunk split split_with_sizes unbind tensor_split cat "
    "stack hstack vstack index_select narrow select roll flip movedim swapaxes swapdims t mt "
    "h sum mean cumsum neg detach tril triu diagonal view_as reshape_as ravel index_add "
    "atleast_2d adjoint rot90 real data column_stack mean_dim broadcast_to pixel_shuffle "
    "unfold"
)
def linear_in_all(func: Any, *args: Any, **kwargs: Any) -> Any:
    """``f(x + d) - f(x) = f(d)`` for a function that is linear in all its tensors together."""
    if func is Tensor.view and isinstance(args[1], torch.dtype):
        raise NotImplementedError("a tensor's memory cannot be read as another dtype")
    func = Tensor.reshape if func is Tensor.view else func
    kept = _past_the_lead(func, args, kwargs)
    return kept if kept is not None else _mapped(func, args, kwargs)


@rule("expand", "getitem")
def expanded(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Repeat or pick entries; an index that differs between rows is left to the fallback."""
    index = [x for x in tree_flatten((args[1:], kwargs))[0] if isinstance(x, Carried)]
    if differs(*index):
        if any(x.dtype == torch.bool for x in index):
            raise NotImplementedError("rows choose how many entries they take")
        return computed_twice(func, *args, **kwargs)
    kept = _past_the_lead(func, args, kwargs)
    return kept if kept is not None else _mapped(func, args, kwargs)


@rule("iter")
def one_by_one(func: Any, x: Any) -> Any:
    """Take the entries of the first axis, as a loop does."""
    return iter(linear_in_all(torch.unbind, x))


@rule("pad", "masked_fill", "constant_pad_nd")
def filled(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Put a constant where no row differs then, or at places that rows choose themselves."""
    base = func(base_of(x), *map(base_of, args), **kwargs)
    if differs(*args, *kwargs.values()):
        given = [x, *args]
        dims = tuple(0 if differs(one) else None for one in given)
        rows = [one.values() if differs(one) else base_of(one) for one in given]
        return with_own(base, torch.vmap(lambda *own: func(*own, **kwargs), in_dims=dims)(*rows))
    if not differs(x):
        return carried(base)
    args = tuple(map(base_of, args))
    # What a mask or a border is filled with is the last argument of either function.
    zero = dict(kwargs)
    if "value" in zero:
        zero["value"] = 0
    elif len(args) > 1:
        args = (*args[:-1], 0)
    return carried(base, torch.vmap(lambda d: func(d, *args, **zero))(x.dense()))


@rule("setitem")
def written(func: Any, x: Any, index: Any, value: Any) -> Any:
    """``x[index] = value``, with an index that is the same in all rows."""
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(one, Carried) for one in index):
        raise NotImplementedError("rows write to different entries")
    base = x.base.clone()
    own = base_of(value)
    base[index] = own
    if not differs(x, value):
        return Carried(base)
    rows = count(x, value)
    old = x.dense()
    new = base.new_zeros(rows, *base.shape) if old is None else old.clone()
    change: Any = value.dense() if differs(value) else 0
    if isinstance(change, Tensor):
        missing = base[index].dim() - own.dim()
        change = change.reshape(rows, *[1] * missing, *own.shape)
    new[(slice(None), *index)] = change
    return Carried(base, new)


@rule(
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty "
    "rand_like randn_like new_tensor"
)
def made_alike(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a tensor of another's form, in which no row differs yet."""
    return carried(in_state(func(base_of(x), *args, **kwargs)))


@rule("copy")
def copied(func: Any, x: Any, source: Any, non_blocking: bool = False) -> Any:
    """Take another tensor's entries."""
    if not isinstance(source, Carried):
        source = carried(in_state(source))
    return expanded(Tensor.expand, source, *x.shape)


@rule("to float half bfloat16 double type type_as cpu cuda long int bool")
def cast(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Change the dtype. States stay states: a model that casts them down would only round."""
    if not isinstance(x, Carried):  # a plain tensor `.to` a carried one
        return func(x, *map(base_of, args), **kwargs)
    base = func(x.base, *map(base_of, args), **kwargs)
    state = current().precision.state
    if base.is_floating_point() and x.floating:
        if base.device == x.base.device:
            return x
        rows = None if x.rows is None else x.rows.to(base.device)
        return Carried(x.base.to(base.device), rows, x.lead)
    if x.rows is None:
        return carried(in_state(base))
    values = func(x.values(), *map(base_of, args), **kwargs)
    if not base.is_floating_point():
        return Carried(base, values)
    return Carried(base.to(state), values.to(state) - base.to(state))


@rule("dropout", "identity", "alpha_dropout", "feature_dropout")
def unchanged(func: Any, x: Any, p: float = 0.5, training: bool = False, **kwargs: Any) -> Any:
    """Drop nothing: models run in evaluation mode."""
    if training:
        raise NotImplementedError("dropout is on")
    return x


@rule("fallback")
def computed_twice(func: Any, *args: Any, **kwargs: Any) -> Any:
    """``f(x + d) - f(x)`` by two evaluations in float64, for what has no rule."""
    base = func(*_each(base_of, args), **_each(base_of, kwargs))
    leaves, spec = tree_flatten((args, kwargs))
    if not differs(*leaves):
        return carried(base)
    state = current().precision.state

    def wide(x: Any) -> Any:
        x = x.base if isinstance(x, Carried) else x
        return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x

    moving = [x for x in leaves if differs(x)]
    values = [wide(x.base) + x.dense().double() if x.floating else x.rows for x in moving]

    def rows(*own: Tensor) -> Any:
        given = iter(own)
        given_leaves = [next(given) if differs(x) else wide(x) for x in leaves]
        own_args, own_kwargs = tree_unflatten(given_leaves, spec)
        return func(*own_args, **own_kwargs)

    wide_args, wide_kwargs = tree_unflatten([wide(x) for x in leaves], spec)
    before = func(*wide_args, **wide_kwargs)
    after = torch.vmap(rows)(*values)

    def change(new: Tensor, old: Tensor) -> Tensor:
        return (new - old).to(state) if old.is_floating_point() else new

    if isinstance(before, Tensor):
        return carried(in_state(base), change(after, before))
    changes = [change(new, old) for new, old in zip(after, before, strict=True)]
    return carried([in_state(one) for one in base], changes)


def count(*tensors: Any) -> int:
    """How many rows carried tensors have."""
    return next(len(x.rows) for x in tensors if differs(x))


def _each(change: Callable[[Any], Any], tree: Any) -> Any:
    leaves, spec = tree_flatten(tree)
    return tree_unflatten([change(leaf) for leaf in leaves], spec)


def _mapped(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    leaves, spec = tree_flatten((args, kwargs))
    own_args, own_kwargs = tree_unflatten([base_of(x) for x in leaves], spec)
    base = func(*own_args, **own_kwargs)
    moving = [x for x in leaves if differs(x)]
    if not moving:
        return carried(base)

    def still(x: Any) -> Any:
        x = base_of(x)
        return torch.zeros_like(x) if isinstance(x, Tensor) and x.is_floating_point() else x

    def rows(*own: Tensor) -> Any:
        given = iter(own)
        row_args, row_kwargs = tree_unflatten(
            [next(given) if differs(x) else still(x) for x in leaves], spec
        )
        return func(*row_args, **row_kwargs)

    return carried(base, torch.vmap(rows)(*[x.dense() for x in moving]))


def _past_the_lead(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result where entries that differ in no row stay the first of the last axis but one.

    What transformers does to a prefix's keys and values before attention: repeating heads.
    """
    x = args[0]
    if not (isinstance(x, Carried) and x.lead) or kwargs:
        return None
    name, (length, width) = func.__name__, x.base.shape[-2:]
    rest = args[1:]
    if name in ("clone", "contiguous"):
        return Carried(func(x.base), func(x.rows), x.lead)
    if name in ("expand", "reshape"):
        sizes = list(rest[0]) if len(rest) == 1 else list(rest)
        if sizes[-2:] != [length, width] or x.base.dim() < 3 or -1 in sizes:
            return None
        base = func(x.base, sizes)
        sizes[-2] = length - x.lead
        assert x.rows is not None
        if name == "reshape":
            return Carried(base, x.rows.reshape(len(x.rows), *sizes), x.lead)
        missing = len(sizes) - x.base.dim()
        rows = x.rows.reshape(len(x.rows), *[1] * missing, *x.rows.shape[1:])
        return Carried(base, rows.expand(len(rows), *sizes), x.lead)
    if name == "__getitem__":
        index = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
        plain = all(one is None or one == slice(None) for one in index)
        axes = sum(one is not None for one in index)
        before = axes < x.base.dim() - 1 or index[-2:] == (slice(None), slice(None))
        if plain and before:
            assert x.rows is not None
            return Carried(x.base[index], x.rows[(slice(None), *index)], x.lead)
    return None


def pad_rows(x: Tensor, axes: int) -> Tensor:
    """Rows [R, ...] of a tensor as those of one with ``axes`` axes, by axes of size 1."""
    return x.reshape(len(x), *[1] * (axes + 1 - x.dim()), *x.shape[1:])
