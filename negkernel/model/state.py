"""Tell in one walk whether a model is still the one that was judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

State = tuple[Any, ...]


def state_of(model: nn.Module) -> State:
    """Everything a verdict depends on: modules, forwards, hooks, tensors and the config.

    Of tensors their identity and version count, which in-place edits raise; a parameter on the
    meta device, which offloading makes anew at every forward, by its place alone.
    """
    found: list[Any] = []
    for module in model.modules():
        own = vars(module)
        found += type(module), type(module).forward, own.get("forward"), own.get("_old_forward")
        if module._forward_hooks or module._forward_pre_hooks:
            found += foreign_hooks(module)
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                found += _mark(tensor)
    found += torch_module._global_forward_hooks.values()
    found += torch_module._global_forward_pre_hooks.values()
    return (*found, *_settings(model.config))


def foreign_hooks(module: nn.Module) -> list[Any]:
    """Forward hooks of ``module`` but those of transformers, which only record outputs."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return [h for h in hooks if not getattr(h, "__module__", "").startswith("transformers.")]


def _mark(tensor: torch.Tensor) -> tuple[Any, ...]:
    if tensor.is_meta:
        return (None, tensor.dtype)
    version = None if tensor.is_inference() else tensor._version
    return id(tensor), version, tensor.dtype


def _settings(config: Any) -> Iterator[Any]:
    """Values of a config and of the configs inside it, in a form that compares."""
    for name, value in vars(config).items():
        yield name
        if hasattr(value, "to_dict"):
            yield from _settings(value)
        else:
            yield value if isinstance(value, str | int | float | None) else repr(value)
