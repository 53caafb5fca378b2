"""Take the components of TransformerLens off a model, sharing every tensor with it.

A bridge changes the model that it is given: each module that it can hook lies inside a component
afterwards, which runs hook points, the module, and hook points again. Where none of them carries a
hook, the modules alone compute the same.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from negkernel.model.state import foreign_hooks
from negkernel.model.task import ModelError


def without_components(model: Any) -> Any:
    """Return ``model`` as it was before a bridge took it; itself if none has.

    Modules above a component are copied without their tensors, all others are the model's own.

    Raises
    ------
    ValueError
        Weights were folded into others.
    """
    for component in _components(model):
        if getattr(component, "_use_processed_weights", False):
            raise ModelError(
                f"a {type(component).__name__} of this model computes with folded weights, which "
                "are no longer the checkpoint's. Load the model anew, or boot the bridge without "
                "enable_compatibility_mode()"
            )
    return _stripped(model, {})


def hooked(model: Any) -> bool:
    """Whether a user has put hooks on components of ``model``, which it then is not without."""
    return any(map(_hooked, _components(model)))


def _components(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if _original(module) is not None]


def _original(module: nn.Module) -> nn.Module | None:
    """The module that a component lies around."""
    return module._modules.get("_original_component")


def _hooked(component: nn.Module) -> bool:
    """Whether a component or a point of it carries hooks; those that it makes only watch."""
    points = [one for one in component.children() if type(one).__name__ == "HookPoint"]
    own = [getattr(hook, "__module__", None) or "" for hook in foreign_hooks(component)]
    return any(map(foreign_hooks, points)) or any(
        not f"{name}.".startswith("transformer_lens.") for name in own
    )


def _stripped(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """``module`` or, where a component lies below it, a copy that shares all but the component."""
    if module in done:
        return done[module]
    bare = module
    while (inner := _original(bare)) is not None:
        bare = inner
    children = {
        name: None if child is None else _stripped(child, done)
        for name, child in bare._modules.items()
    }
    if any(child is not bare._modules[name] for name, child in children.items()):
        bare = copy.copy(bare)
        bare._modules = children
    done[module] = bare
    return bare
