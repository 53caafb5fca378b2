"""Define the carried tensor: a base value, and how much it differs in each of many rows.

A model sees the base alone: one prompt, the shapes of one prompt. The rows are an axis in front
that only rules know, as under ``torch.vmap``. It is a subclass of ``torch.Tensor`` that answers
``__torch_function__`` and not ``__torch_dispatch__``: there an activation or an attention is still
whole, while the dispatcher would show the elementary steps that it decomposes into, of which a
difference cannot be had without cancellation. Whatever comes through to the dispatcher is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.methods.generic.names import METADATA, VIEWS, Spelled, spell
from negkernel.methods.generic.running import current

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule under torch's names of operations, without underscores, spaces between.

    The rule is called with torch's function and its arguments, some of them carried, and returns
    what the function would: :class:`Carried` where rows differ.
    """

    def keep(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(" ".join(names).split(), function))
        return function

    return keep


class Carried(Tensor):
    """A tensor that rows differ in.

    Attributes
    ----------
    base : Tensor [...]
        What the model computes without a shift, in the state dtype if floating.
    rows : Tensor [R, ...] or None
        Floating: the differences from ``base``. Integers and booleans: the rows' own values, and
        of floating tensors too where ``own``. None where no row differs.
    lead : int
        So many first entries of the last axis but one differ in no row and are left out of
        ``rows``: the keys and values of a prefix.
    own : bool
        ``rows`` are no differences, since some are infinite: a mask that rows choose.
    shared : bool
        Another carried tensor may look at the same memory: not to be written to.
    part : tuple or None
        The tensor and the index that this was picked by: writing to it writes there.
    """

    base: Tensor
    rows: Tensor | None
    lead: int
    own: bool
    shared: bool
    part: tuple[Carried, Any] | None

    @staticmethod
    def __new__(cls, base: Tensor, rows: Tensor | None = None, lead: int = 0) -> Carried:
        """Make a tensor of the base's form without memory of its own."""
        self: Carried = torch.Tensor._make_wrapper_subclass(
            cls, base.shape, dtype=base.dtype, device=base.device
        )
        self.base, self.rows, self.lead = base, rows, lead
        self.own, self.shared, self.part = False, False, None
        return self

    def __init__(self, base: Tensor, rows: Tensor | None = None, lead: int = 0):
        pass

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation's rule in its place."""
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse what came past the rules."""
        raise NotImplementedError(f"{func} has no rule for differences that rows carry")

    @property
    def floating(self) -> bool:
        """Whether ``rows`` are differences."""
        return self.base.is_floating_point()

    def dense(self) -> Tensor | None:
        """Rows with the entries that are left out."""
        if self.rows is None:
            return None
        if self.own:
            return torch.where(self.rows == self.base, 0, self.rows - self.base)
        if not self.lead:
            return self.rows
        return F.pad(self.rows, (0, 0, self.lead, 0))

    def values(self) -> Tensor:
        """What the tensor is in each row, [R, ...]; [1, ...] where no row differs."""
        if self.own and self.rows is not None:
            return self.rows
        rows = self.dense()
        if rows is None:
            return self.base.unsqueeze(0)
        return self.base + rows if self.floating else rows


def with_own(base: Tensor, rows: Tensor) -> Carried:
    """Make a tensor of the values that it has in each row, some of them infinite."""
    made = Carried(base, rows)
    made.own = True
    return made


def base_of(x: Any) -> Any:
    """What the model computes without a shift; weights in the dtype of states."""
    if isinstance(x, Carried):
        return x.base
    return in_state(x) if isinstance(x, Tensor) else x


def in_state(x: Tensor) -> Tensor:
    """``x`` in the dtype of states if it is floating and narrower."""
    state = current().precision.state
    narrower = x.is_floating_point() and x.dtype.itemsize < state.itemsize
    return x.to(state) if narrower else x


def differs(*tensors: Any) -> bool:
    """Whether one of ``tensors`` is carried and differs in some row."""
    return any(isinstance(x, Carried) and x.rows is not None for x in tensors)


def carried(base: Any, rows: Any = None) -> Any:
    """Carried tensors of a function's tensors, which may be several; integers stay plain."""
    if isinstance(base, Tensor):
        known = base.is_floating_point() or rows is not None
        return Carried(base, rows) if known else base
    if not isinstance(base, list | tuple):
        return base
    parts = [None] * len(base) if rows is None else rows
    made = [carried(one, own) for one, own in zip(base, parts, strict=True)]
    return type(base)(made)  # a list, a tuple, or what torch names its pairs


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    spelled = spell(func)
    if spelled.name in METADATA:
        return func(*args, **kwargs)
    if kwargs.pop("inplace", False):
        return _write(Spelled(func, spelled.name, written=True), args, kwargs)
    if spelled.written:
        return _write(spelled, args, kwargs)
    if spelled.swapped:
        args = (args[1], args[0])
    return apply(spelled.func, spelled.name, args, kwargs)


def apply(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the rule called ``name``, or compute the function twice where there is none."""
    found = RULES.get(name)
    run = current()
    if found is None:
        run.fallen[name] += 1
        return RULES["fallback"](func, *args, **kwargs)
    out = found(func, *args, **kwargs)
    run.exact[name] += 1
    if name == "getitem" and isinstance(out, Carried) and isinstance(args[0], Carried):
        out.part = args[0], args[1]
    if name in VIEWS:
        looked_at = () if name == "getitem" else (args[0],)  # parts are written through
        for one in (*looked_at, *(out if isinstance(out, list | tuple) else (out,))):
            if isinstance(one, Carried) and out is not args[0]:
                one.shared = True
    return out


def _write(spelled: Spelled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute what is written into the first argument, and put it there."""
    into, name = args[0], spelled.name
    if not isinstance(into, Carried):
        raise NotImplementedError(f"{name} writes what rows differ in into a plain tensor")
    if into.part is not None and name != "setitem":
        whole, index = into.part
        new = apply(spelled.func, name, args, kwargs)
        # Other views of the whole would not follow; a forward that reads them is found out by its
        # base, which differs from the model's own.
        changed = RULES["setitem"](None, whole, index, new)
        _become(whole, changed)
        _become(into, new)
        return into
    if into.shared:
        raise NotImplementedError(f"{name} writes into a view, which rows cannot follow")
    out = apply(spelled.func, name, args, kwargs)
    if out.shape != into.shape:
        raise NotImplementedError(f"{name} writes {list(out.shape)} into {list(into.shape)}")
    _become(into, out)
    return None if name == "setitem" else into


def _become(into: Carried, out: Carried) -> None:
    into.base, into.rows, into.lead, into.own = out.base, out.rows, out.lead, out.own
