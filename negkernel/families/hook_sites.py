"""Where a neuron can be caught in a model's own modules: for hooks, in any architecture.

The delta forward knows its families exactly; the methods that run the model's own forward only
need to know which module's input or output the neurons are. That is read off the layers by the
names that transformers uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from negkernel.families.weights import dense_shape

# (fused or None, gate or None, up, down) by attribute path, within a layer's feed-forward module
_NAMES = (
    (None, "gate_proj", "up_proj", "down_proj"),
    ("gate_up_proj", None, None, "down_proj"),
    (None, None, "fc1", "fc2"),
    (None, None, "c_fc", "c_proj"),
    (None, None, "dense_h_to_4h", "dense_4h_to_h"),
    (None, None, "up_proj", "down_proj"),
    (None, None, "lin1", "lin2"),
    (None, None, "intermediate.dense", "output.dense"),
    ("Wi", None, None, "Wo"),
)


@dataclass(frozen=True)
class HookSite:
    """Neurons are columns ``offset:offset + width`` of a module's input or output."""

    module: nn.Module
    is_input: bool
    offset: int
    width: int


@dataclass(frozen=True)
class FeedForward:
    """One layer's feed-forward modules; ``fused`` holds gate (first half) and up in one."""

    down: nn.Module
    up: nn.Module | None
    gate: nn.Module | None
    fused: nn.Module | None
    width: int

    @property
    def gated(self) -> bool:
        """Whether the hidden vector is a product of two projections."""
        return self.gate is not None or self.fused is not None

    def site(self, name: str) -> HookSite:
        """Return where the resolved site ``name`` can be caught."""
        if name == "post":
            return HookSite(self.down, True, 0, self.width)
        if self.fused is not None:
            return HookSite(self.fused, False, self.width if name == "up" else 0, self.width)
        module = self.gate if name == "gate" else self.up
        assert module is not None
        return HookSite(module, False, 0, self.width)


def feed_forwards(model: nn.Module, config: Any) -> list[FeedForward]:
    """Find the feed-forward modules of every layer.

    Raises
    ------
    NotImplementedError
        No list of layers, or a layer whose feed-forward module is not recognised.
    """
    layers = _layers(model, config.num_hidden_layers)
    found = [_feed_forward(layer) for layer in layers]
    for index, one in enumerate(found):
        if one is None:
            raise NotImplementedError(
                f"layer {index} of {type(model).__name__} has no feed-forward module that "
                "negkernel recognises (a mixture of experts has no single one); expected "
                "projections named like gate_proj/up_proj/down_proj, fc1/fc2 or c_fc/c_proj"
            )
    return [one for one in found if one is not None]


def _layers(model: nn.Module, count: int) -> nn.ModuleList:
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise NotImplementedError(
        f"{type(model).__name__} has no list of {count} layers that negkernel can find"
    )


def _feed_forward(layer: nn.Module) -> FeedForward | None:
    if any(hasattr(module, "experts") for module in layer.modules()):
        return None
    for module in layer.modules():
        for names in _NAMES:
            parts = [None if name is None else _part(module, name) for name in names]
            known = [isinstance(part, nn.Module) for part in parts]
            if known == [name is not None for name in names]:
                fused, gate, up, down = parts
                assert down is not None
                return FeedForward(down, up, gate, fused, dense_shape(down)[1])
    return None


def _part(module: nn.Module, path: str) -> Any:
    """Attribute ``path`` (names joined by dots) of ``module``, None where it has none."""
    part: Any = module
    for name in path.split("."):
        part = getattr(part, name, None)
    return part
