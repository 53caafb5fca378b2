"""Where a neuron can be caught in a model's own modules: for hooks, in any architecture.

The delta forward knows its families exactly; the methods that run the model's own forward only
need to know which module's input or output the neurons are. That is read off the layers by the
names that transformers uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from negkernel.families.experts import routed_experts
from negkernel.families.feed_forward import Edit
from negkernel.families.feed_forward import FeedForward as FeedForward
from negkernel.families.weights import dense_shape

# (fused or None, gate or None, up, down) by attribute path, within a layer's feed-forward module
_NAMES = (
    (None, "gate_proj", "up_proj", "down_proj"),
    ("gate_up_proj", None, None, "down_proj"),
    (None, None, "fc1", "fc2"),
    (None, None, "fc_in", "fc_out"),
    (None, None, "c_fc", "c_proj"),
    (None, None, "dense_h_to_4h", "dense_4h_to_h"),
    (None, None, "up_proj", "down_proj"),
    (None, None, "lin1", "lin2"),
    (None, None, "intermediate.dense", "output.dense"),
    ("Wi", None, None, "Wo"),
)
# What transformers calls the expert of a mixture that serves every token.
_SHARED = ("shared_expert", "shared_experts", "shared_mlp")


@dataclass(frozen=True)
class HookSite:
    """Neurons are columns ``offset:offset + width`` of a module's input or output [.., total]."""

    module: nn.Module
    is_input: bool
    offset: int
    width: int
    total: int

    @contextmanager
    def edited(self, edit: Edit) -> Iterator[None]:
        """See :class:`negkernel.families.feed_forward.Site`."""

        def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self._apply(edit, args[0]), *args[1:])

        def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            return self._apply(edit, output)

        if self.is_input:
            handle = self.module.register_forward_pre_hook(before)
        else:
            handle = self.module.register_forward_hook(after)
        try:
            yield
        finally:
            handle.remove()

    def _apply(self, edit: Edit, x: Tensor) -> Tensor:
        if x.shape[-1] != self.total:
            raise NotImplementedError(
                f"{type(self.module).__name__} computes {x.shape[-1]} columns where its layer has "
                f"{self.total}: it is split over processes (tensor parallel), so that an index "
                "means another neuron on each; load the model whole, or use FSDP"
            )
        columns = slice(self.offset, self.offset + self.width)
        flat = x.reshape(-1, x.shape[-1])
        changed = edit(flat[:, columns])
        if changed is None:
            return x
        if self.width == x.shape[-1]:
            return changed.view(x.shape)
        out = flat.clone()
        out[:, columns] = changed
        return out.view(x.shape)


@dataclass(frozen=True)
class DenseFeedForward:
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
            return HookSite(self.down, True, 0, self.width, self.width)
        if self.fused is not None:
            offset = self.width if name == "up" else 0
            return HookSite(self.fused, False, offset, self.width, 2 * self.width)
        module = self.gate if name == "gate" else self.up
        assert module is not None
        return HookSite(module, False, 0, self.width, self.width)


def feed_forwards(model: nn.Module, config: Any) -> list[FeedForward]:
    """Find the feed-forward part of every layer.

    In a mixture of experts that is the expert all tokens share where a layer has one, since it
    is a feed-forward layer like any other, and the routed experts side by side elsewhere.

    Raises
    ------
    NotImplementedError
        No list of layers, a layer whose feed-forward part is not recognised, or layers that
        differ in their number of neurons.
    """
    found: list[FeedForward] = []
    for index, layer in enumerate(_layers(model, config.num_hidden_layers)):
        one = _feed_forward(layer)
        if one is None:
            raise NotImplementedError(
                f"layer {index} of {type(model).__name__} has no feed-forward module that "
                "negkernel recognises; expected projections named like gate_proj/up_proj/"
                "down_proj, fc1/fc2 or c_fc/c_proj, or experts with gate_up_proj and down_proj"
            )
        found.append(one)
    return found


def _layers(model: nn.Module, count: int) -> nn.ModuleList:
    # A vision tower may have as many layers, hence the language model first.
    find: Any = getattr(model, "get_decoder", None)
    language = model if find is None else find()
    for module in [*language.modules(), *model.modules()]:
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise NotImplementedError(
        f"{type(model).__name__} has no list of {count} layers that negkernel can find"
    )


def _feed_forward(layer: nn.Module) -> FeedForward | None:
    if not any(hasattr(module, "experts") for module in layer.modules()):
        return _dense(layer)
    for name, module in layer.named_modules():
        if name.rpartition(".")[2] in _SHARED:
            return _dense(module)
    return routed_experts(layer)


def _dense(layer: nn.Module) -> DenseFeedForward | None:
    for module in layer.modules():
        for names in _NAMES:
            parts = [None if name is None else _part(module, name) for name in names]
            known = [isinstance(part, nn.Module) for part in parts]
            if known == [name is not None for name in names]:
                fused, gate, up, down = parts
                assert down is not None
                return DenseFeedForward(down, up, gate, fused, dense_shape(down)[1])
    return None


def _part(module: nn.Module, path: str) -> Any:
    """Attribute ``path`` (names joined by dots) of ``module``, None where it has none."""
    part: Any = module
    for name in path.split("."):
        part = getattr(part, name, None)
    return part
