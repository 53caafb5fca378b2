"""Read what operation torch calls: ``x += y``, ``x.add_(y)`` and ``torch.add`` are all "add"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Questions about a tensor's form, which is that of its base.
METADATA = _words(
    "shape dtype device ndim layout is_cuda is_cpu is_meta is_sparse is_quantized is_nested "
    "is_mps is_xpu is_leaf requires_grad grad grad_fn names size dim ndimension stride numel "
    "nelement element_size is_floating_point is_complex is_contiguous get_device len hash "
    "format repr itemsize nbytes result_type retain_grad _version is_inference type_str "
    "is_mkldnn is_vulkan storage_offset is_signed is_same_size is_tensor is_autocast_enabled"
)
# Operations whose result looks at the memory of their first argument, or may.
VIEWS = _words(
    "view reshape getitem transpose permute chunk split expand expand_as contiguous to float "
    "half bfloat16 double type type_as detach squeeze unsqueeze flatten unbind t mt h narrow "
    "select view_as reshape_as unflatten movedim swapaxes swapdims diagonal tensor_split data "
    "split_with_sizes ravel cpu cuda real"
)
_ALIASES = {
    "truediv": "div",
    "true_divide": "div",
    "divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "negative": "neg",
    "concat": "cat",
    "concatenate": "cat",
    "hardtanh": "clamp",
    "clip": "clamp",
    "invert": "bitwise_not",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "greater": "gt",
    "less": "lt",
    "greater_equal": "ge",
    "less_equal": "le",
    "not_equal": "ne",
    "permute_dims": "permute",
    "special_expm1": "expm1",
}
_SWAPPED = frozenset({"radd", "rsub", "rmul", "rdiv", "rtruediv", "rpow", "rmatmul"})
_WRITTEN = frozenset({"iadd", "isub", "imul", "idiv", "itruediv", "ipow", "iand", "ior"})


@dataclass(frozen=True)
class Spelled:
    """An operation: torch's function, its name, and what its spelling says.

    ``written``: the result goes into the first argument. ``swapped``: the arguments are in the
    other order. ``func`` has neither.
    """

    func: Any
    name: str
    written: bool = False
    swapped: bool = False


@lru_cache(maxsize=4096)
def spell(func: Any) -> Spelled:
    """Return what operation ``func`` is."""
    name: str = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):  # attributes: x.shape, x.T
        attribute = getattr(func.__self__, "__name__", "").lower()
        return Spelled(func, attribute if name == "__get__" else f"set {attribute}")
    special = name.startswith("__") and name.endswith("__")
    name = name.strip("_") if special else name
    if special and name in ("int", "float", "bool", "complex", "index"):
        return Spelled(func, "item")
    if special and name == "setitem":
        return Spelled(func, name, written=True)
    if special and name in _WRITTEN:
        return _plain(name[1:], written=True)
    if special and name in _SWAPPED:
        return _plain(name[1:], swapped=True)
    if not special and name.endswith("_") and not name.startswith("_"):
        return _plain(name[:-1], written=True)
    name = name.removeprefix("linalg_")
    return Spelled(func, _ALIASES.get(name, name))


def _plain(name: str, *, written: bool = False, swapped: bool = False) -> Spelled:
    name = _ALIASES.get(name, name)
    func = getattr(torch, name, None) or getattr(Tensor, name, None)
    return Spelled(func, name, written, swapped)
