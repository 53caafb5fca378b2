"""Where a neuron can be caught in a model's own modules: for hooks, in any architecture.

The delta forward knows its families exactly; the methods that run the model's own forward only
need to know which module's input or output the neurons are. That is read off the layers by the
names that transformers uses, and failing that by numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from negkernel.families.feed_forward import FeedForward as FeedForward
from negkernel.families.weights import dense_shape
from negkernel.hooks.by_numbers import recognised
from negkernel.hooks.dense import Dense
from negkernel.hooks.experts import routed_experts

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


def feed_forwards(model: nn.Module, config: Any) -> list[FeedForward]:
    """Find the feed-forward part of every layer, by names or by what a forward computes.

    In a mixture of experts that is the expert all tokens share where a layer has one, since it
    is a feed-forward layer like any other, and the routed experts side by side elsewhere.

    Raises
    ------
    NotImplementedError
        Neither tells where the neurons of every layer are.
    """
    count = getattr(config, "num_hidden_layers", None)
    for within in _parts(model):
        lists = [[feed_forward_of(layer) for layer in one] for one in _lists(within, count)]
        known = [[one for one in parts if one is not None] for parts in lists]
        found = [parts for parts in known if len(parts) == count]
        if len(found) == 1:
            return found[0]
        if found:  # which of them runs must be seen
            break
    return recognised(model, count)


def layers_of(model: nn.Module, config: Any) -> nn.ModuleList:
    """Find the list of a model's layers.

    Raises
    ------
    NotImplementedError
        Layers that share modules, or several lists that may be it.
    """
    count = getattr(config, "num_hidden_layers", None)
    for within in _parts(model):
        lists = list(_lists(within, count))
        known = [one for one in lists if all(feed_forward_of(layer) for layer in one)] or lists
        if len(known) == 1:
            return known[0]
    raise NotImplementedError(
        f"{type(model).__name__} has no one list of {count} layers, so that heads and directions "
        "cannot be caught in it"
    )


def _parts(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The language model, then all: a vision tower may have as many layers."""
    find: Any = getattr(model, "get_decoder", None)
    return (model if find is None else find()), model


def _lists(module: nn.Module, count: int | None) -> Iterator[nn.ModuleList]:
    """Lists of ``count`` modules that are within no other such list."""
    if isinstance(module, nn.ModuleList) and len(module) == count:
        yield module
        return
    for child in module.children():
        yield from _lists(child, count)


def feed_forward_of(layer: nn.Module) -> FeedForward | None:
    """Return a layer's feed-forward part as its modules' names tell it, None where they do not."""
    if not any(hasattr(module, "experts") for module in layer.modules()):
        return _dense(layer)
    for name, module in layer.named_modules():
        if name.rpartition(".")[2] in _SHARED:
            return _dense(module)
    return routed_experts(layer)


def _dense(layer: nn.Module) -> Dense | None:
    for module in layer.modules():
        if next(module.children(), None) is None:  # asking most for what they lack is slow
            continue
        for names in _NAMES:
            parts = [None if name is None else part(module, name) for name in names]
            known = [isinstance(one, nn.Module) for one in parts]
            if known == [name is not None for name in names]:
                fused, gate, up, down = parts
                assert down is not None
                width = dense_shape(down)[1]
                # Names alone do not say that the first projection holds gates and ups in one.
                if all(_outputs(one) in (None, width) for one in (gate, up)):
                    return Dense(down, width, up=up, gate=gate, fused=fused)
    return None


def _outputs(module: nn.Module | None) -> int | None:
    """Outputs of a linear module, None where its class does not say."""
    known = module is not None and (hasattr(module, "out_features") or hasattr(module, "nf"))
    return dense_shape(module)[0] if known else None


def part(module: nn.Module, path: str) -> Any:
    """Attribute ``path`` (names joined by dots) of ``module``, None where it has none."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
