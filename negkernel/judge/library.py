"""Find what a model runs that its library did not write: forwards, hooks and missing weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from negkernel.families.resident import Loader, loaders_of
from negkernel.families.weights import (
    computes_weights,
    is_linear_like,
    runs_as_written,
    written_by_library,
)
from negkernel.model.state import foreign_hooks

# Whose modules do what their weights and configs say.
_CLASSES = ("transformers.", "torch.nn.modules.", "torch._dynamo.", "bitsandbytes.")


def foreign_part(model: nn.Module) -> str | None:
    """What a computation that reads weights instead of running modules would leave out.

    The first of: a forward hook, a module class or a forward that is not the library's, sharded
    weights; None where there is nothing of that kind.
    """
    for hooks in (torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks):
        if hooks:
            return "torch carries a forward hook for every module"
    read: set[nn.Module] = set()  # by its matrix, or run as it is
    embedding: Any = getattr(model, "get_input_embeddings", lambda: None)()
    for name, module in model.named_modules():
        if module is embedding or is_linear_like(module):
            read.update(module.modules())
        what = _around(module) or (None if module in read else _foreign(module))
        if what is not None:
            return f"module {name!r} {what}"
    return None


def _around(module: nn.Module) -> str | None:
    """What is put around a module and its weights, beside what :mod:`.resident` understands."""
    if any(not computes_weights(hook) for hook in foreign_hooks(module)):
        return "carries a forward hook"
    hook = vars(module).get("_hf_hook")
    for one in getattr(hook, "hooks", (hook,)):
        if one is not None and type(one).__name__ != "AlignDevicesHook":
            return f"carries a {type(one).__name__} of accelerate"
    if any(type(p).__module__.startswith("torch.distributed") for p in module._parameters.values()):
        return "has weights that are sharded over processes"
    return None


def _foreign(module: nn.Module) -> str | None:
    cls = type(module)
    if not f"{cls.__module__}.".startswith(_CLASSES):
        return f"is of class {cls.__name__}, which is not transformers' or torch's"
    if not written_by_library(cls.forward):
        return f"runs a forward that was put into class {cls.__name__}"
    return None if runs_as_written(module) else "has a forward of its own in place of its class's"


def refuse_missing(model: nn.Module) -> dict[nn.Module, Loader]:
    """Refuse a model with tensors on the meta device that nothing brings in.

    Returns
    -------
    dict
        What brings in the others, see :func:`negkernel.families.resident.loaders_of`.

    Raises
    ------
    ValueError
        Naming the first such tensor.
    """
    loaders = loaders_of(model)
    for name, module in model.named_modules():
        if module in loaders:
            continue
        for kind in (module._parameters, module._buffers):
            for key, tensor in kind.items():
                if tensor is not None and tensor.is_meta:
                    raise ValueError(
                        f"{f'{name}.{key}' if name else key} of this {type(model).__name__} is on "
                        "the meta device and nothing brings it in: no loader has filled it. Load "
                        "the model with its weights"
                    )
    return loaders


def largest_eps(model: nn.Module, *, quantized: bool) -> float:
    """Rounding of the coarsest floating dtype among the parameters, at least float32's.

    With ``quantized`` integers count as well: layers of them round what they multiply.
    """
    kinds = {p.dtype for p in model.parameters()}
    eps = [torch.finfo(kind).eps for kind in kinds if kind in (torch.bfloat16, torch.float16)]
    if quantized and not all(kind.is_floating_point for kind in kinds):
        eps.append(torch.finfo(torch.bfloat16).eps)
    return max([torch.finfo(torch.float32).eps, *eps])
