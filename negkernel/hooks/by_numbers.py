"""Find feed-forward neurons by what a forward computes, where names do not tell them.

A projection's input holds the neurons if it equals ``f(u)`` or ``f(g) * u`` of what one or two
other modules of its layer put out, token by token, f an activation function. That is seen in one
forward of a few tokens, and it is the definition of a feed-forward neuron: what it does not hold
for is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from negkernel.families.feed_forward import Absent, FeedForward
from negkernel.hooks.calls import Call, traced
from negkernel.hooks.dense import Dense
from negkernel.hooks.experts import routed_experts

Function = Callable[[Tensor], Tensor]

_NAMES = "silu gelu gelu_new gelu_pytorch_tanh quick_gelu relu relu2 tanh sigmoid mish leaky_relu"
# What layers call a feed-forward part: one that shows no neurons is not taken for none.
_WORDS = ("mlp", "ffn", "feed_forward", "experts", "moe")

_FOUND: WeakKeyDictionary[nn.Module, tuple[list[FeedForward], list[int]]] = WeakKeyDictionary()


def recognised(model: Any, n_layers: int | None) -> list[FeedForward]:
    """Every layer's feed-forward part, found once for the modules that the model has now.

    Raises
    ------
    NotImplementedError
        No such numbers, or not one feed-forward part for each layer; the message says what was
        found.
    """
    modules = [id(module) for module in model.modules()]
    known = _FOUND.get(model)
    if known is None or known[1] != modules:
        known = _FOUND[model] = _search(model, n_layers), modules
    return known[0]


def _search(model: Any, n_layers: int | None) -> list[FeedForward]:
    lists, calls = traced(model, n_layers)
    found = [(one, dense) for one in calls if (dense := _dense(one, calls, model)) is not None]
    if not lists:
        # Layers that share modules, or run in turns: each use is a layer of its own.
        if not found or len(found) != (n_layers or len(found)):
            raise NotImplementedError(
                f"a forward of {type(model).__name__} shows {len(found)} feed-forward parts for "
                f"{n_layers} layers; negkernel cannot tell which is which"
            )
        return [dense for _, dense in found]
    # Of several lists, the one that has the neurons: others hold parts of layers.
    chosen = max(lists, key=lambda i: len({one.entry.get(i) for one, _ in found} - {None}))
    parts: list[FeedForward] = []
    for entry, layer in enumerate(lists[chosen]):
        own = [(one, dense) for one, dense in found if one.entry.get(chosen) == entry]
        parts.append(_of_layer(model, f"layer {entry}", layer, own))
    if not any(part.width for part in parts):
        raise NotImplementedError(
            f"{type(model).__name__} has no feed-forward neurons that negkernel recognises: no "
            "projection of a layer reads f(u) or f(g) * u of what other modules put out"
        )
    return parts


def _of_layer(
    model: nn.Module, name: str, layer: nn.Module, found: Sequence[tuple[Call, Dense]]
) -> FeedForward:
    """The one feed-forward part of a layer: in a mixture the shared expert, else the routed."""
    if (experts := routed_experts(layer)) is not None:
        shared = [dense for one, dense in found if "shared" in one.path]
        return shared[0] if len(shared) == 1 else experts
    if len(found) > 1:
        raise NotImplementedError(
            f"{name} of {type(model).__name__} has several feed-forward parts "
            f"({', '.join(one.path for one, _ in found)}); expected one"
        )
    if found:
        return found[0][1]
    for path, _ in layer.named_modules():
        if any(word in path.rpartition(".")[2] for word in _WORDS):
            raise NotImplementedError(
                f"{path!r} in {name} of {type(model).__name__} computes nothing that negkernel "
                "recognises as feed-forward neurons"
            )
    return Absent()


def _dense(down: Call, calls: Sequence[Call], model: Any) -> Dense | None:
    """The neurons that ``down`` projects, None where its input is no such thing."""
    post, head = down.given, model.get_output_embeddings()
    inside = any(part.isdigit() for part in down.path.split("."))
    if post is None or down.module is head or not inside or not post.any():
        return None
    width = post.shape[-1]
    near = [
        one
        for one in calls
        if (one.entry, one.number) == (down.entry, down.number) and _same_stem(one.path, down.path)
    ]
    place: dict[str, Any] = {
        "width": width,
        "number": down.number,
        "sequence_first": down.sequence_first,
    }
    functions = _functions(model, down.path)
    for f, one in product(functions, near):
        if one.put is not None and one.put.shape[-1] == width and _is(f, one.put, None, post):
            return Dense(down.module, up=one.module, **place)
    for f, gate, up in _pairs(functions, near, width):
        if not _is(f, gate[1], up[1], post):
            continue
        if gate[0] is up[0]:
            return Dense(down.module, fused=up[0], up_first=up[2], **place)
        return Dense(down.module, up=up[0], gate=gate[0], **place)
    return None


def _same_stem(path: str, other: str) -> bool:
    """Whether both are in the same entry of the outermost list that holds ``other``."""
    parts = other.split(".")
    stem = parts[: next(i for i, part in enumerate(parts) if part.isdigit()) + 1]
    return path.split(".")[: len(stem)] == stem


Column = tuple[nn.Module, Tensor, bool]  # a module, its outputs, whether they are its first half


def _pairs(
    functions: Sequence[Function], calls: Sequence[Call], width: int
) -> Iterator[tuple[Function, Column, Column]]:
    """Every function with every pair of outputs that could be its gate and its up."""
    puts = [(one.module, one.put) for one in calls if one.put is not None]
    whole: list[Column] = [(m, put, False) for m, put in puts if put.shape[-1] == width]
    halves = [
        ((m, put[:, :width], True), (m, put[:, width:], False))
        for m, put in puts
        if put.shape[-1] == 2 * width
    ]
    pairs: list[tuple[Column, Column]] = [(a, b) for a, b in product(whole, whole) if a is not b]
    pairs += halves + [(second, first) for first, second in halves]
    for f, (gate, up) in product(functions, pairs):
        yield f, gate, up


def _functions(model: nn.Module, path: str) -> list[Function]:
    """Transformers' activation functions, and modules of the layer that may be another."""
    own = [
        module
        for name, module in model.named_modules()
        if "act" in name.rpartition(".")[2]
        and _same_stem(name, path)
        and not list(module.children())
        and all(one.dim() < 2 for one in module.parameters())
    ]
    return [*(ACT2FN[name] for name in _NAMES.split()), *own]


def _is(f: Function, gate: Tensor, up: Tensor | None, post: Tensor) -> bool:
    """Whether ``post`` is f(gate), or f(gate) * up, within the rounding of its dtype."""

    def same(rows: slice) -> bool:
        found = f(gate[rows])
        if found.shape != post[rows].shape:
            return False
        found = found if up is None else found * up[rows]
        budget = 8 * torch.finfo(post.dtype).eps * post[rows].abs().max()
        return bool((found - post[rows]).abs().max() <= budget)

    return same(slice(1)) and same(slice(None))
