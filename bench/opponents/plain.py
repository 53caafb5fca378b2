"""Shift neurons by plain forwards, one at a time, found without the engine's help.

A feed-forward neuron is known by its numbers: in one forward of the model, the input of one linear
module of a layer equals ``f(u)`` or ``f(g) * u`` of what other modules put out. Experts kept in
tensors are shifted through their weights: ``w + d x / |x|^2`` moves ``w x`` by d for token x alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.activations import ACT2FN

# Layers where something else lies between the projections, so that no identity holds: by name.
NAMED = {
    "bitnet": ("mlp.down_proj", "mlp.up_proj", True),
    "gemma3n_text": ("mlp.down_proj", "mlp.up_proj", True),
    "gemma3n": ("mlp.down_proj", "mlp.up_proj", True),
    "minimax_m3_vl_text": (
        "mlp.shared_experts.down_proj",
        "mlp.shared_experts.gate_up_proj",
        True,
    ),
    "ibert": ("output.dense", "intermediate.dense", False),
    "mobilebert": ("output.dense", "intermediate.dense", False),
}

NARROW = 16  # no feed-forward part of a tiny model is; ranks of factored matrices are


@dataclass(frozen=True)
class Call:
    """One call of a module: what went in and what came out, as rows of tokens."""

    module: nn.Module
    path: str
    time: int
    number: int
    given: Tensor
    put: Tensor


@dataclass(frozen=True)
class Place:
    """Neurons of one layer: columns of a module's input or output in its ``number``-th call."""

    path: str
    time: int
    module: nn.Module
    number: int
    is_input: bool
    columns: slice

    @property
    def width(self) -> int:
        """Number of neurons."""
        return len(range(10**9)[self.columns])

    @contextmanager
    def shifted(self, position: int, index: int, amount: float) -> Iterator[None]:
        """Move one activation away from zero by ``amount``, in every forward until left."""
        column = range(10**9)[self.columns][index]
        count = -1

        def moved(x: Tensor) -> Tensor:
            nonlocal count
            count += 1
            if count != self.number:
                return x
            x = x.clone()
            view = _rows_of(x, self.module)
            view[position, column] += amount * torch.sign(view[position, column])
            return x

        if self.is_input:
            handle = self.module.register_forward_pre_hook(
                lambda _, args: (moved(args[0]), *args[1:])
            )
        else:
            handle = self.module.register_forward_hook(lambda _, args, out: moved(out))
        try:
            yield
        finally:
            handle.remove()


def _rows_of(x: Tensor, module: nn.Module) -> Tensor:
    """A view [tokens, width] of what goes in or out of ``module``, one prompt in the batch."""
    if isinstance(module, nn.Conv1d):
        return x[0].t()
    return x.reshape(-1, x.shape[-1]) if x.is_contiguous() else x.squeeze(0).squeeze(1)


class Plain:
    """Plain forwards of ``model`` on one prompt, read at ``position``."""

    def __init__(self, model: Any, ids: list[int], position: int):
        self.model, self.ids, self.position = model, ids, position
        self.calls = self._calls()

    @torch.no_grad()
    def logprob(self, target: int) -> float:
        """``log p(target)`` of one forward."""
        logits = self.model(input_ids=torch.tensor([self.ids])).logits[0, self.position]
        return float(torch.log_softmax(logits.double(), -1)[target])

    def changes(self, place: Any, index: int, amounts: list[float], target: int) -> NDArray[Any]:
        """Change of ``log p(target)`` for each amount."""
        base = self.logprob(target)
        found = []
        for amount in amounts:
            with place.shifted(self.position, index, amount):
                found.append(self.logprob(target) - base)
        return np.array(found)

    def _calls(self) -> list[Call]:
        calls: list[Call] = []
        numbers: dict[nn.Module, int] = {}

        def record(path: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
                number = numbers[module] = numbers.get(module, -1) + 1
                out = out[0] if isinstance(out, tuple) else out
                if args and isinstance(args[0], Tensor) and isinstance(out, Tensor):
                    given, put = (_rows_of(x.contiguous(), module).clone() for x in (args[0], out))
                    calls.append(Call(module, path, len(calls), number, given, put))

            return hook

        handles = [
            module.register_forward_hook(record(path))
            for path, module in self.model.named_modules()
            if getattr(module, "weight", None) is not None and module.weight.dim() >= 2
        ]
        try:
            self.logprob(0)
        finally:
            for handle in handles:
                handle.remove()
        return calls

    def layers(self) -> list[str]:
        """Paths of the layers that ran, in that order: entries of lists that are in no other."""
        found: dict[str, None] = {}
        for call in self.calls:
            parts = call.path.split(".")
            numbers = [i for i, part in enumerate(parts) if part.isdigit()]
            if numbers:
                found[".".join(parts[: numbers[0] + 1])] = None
        return list(found)

    def neurons(self) -> dict[int, Any]:
        """The neurons of each layer that has some, by its number.

        In a mixture those of the expert that all tokens share, else those of the routed ones. A
        layer that is called again and again counts anew each time.
        """
        found: list[tuple[int, Any]] = []
        for path in self.layers():
            layer = self.model.get_submodule(path)
            experts = [(name, m) for name, m in layer.named_modules() if _stacked(m)]
            places = self.places(path)
            if experts:
                inside = f"{path}.{experts[0][0].rpartition('.')[0]}."
                shared = [one for one in places if "shared" in one.path]
                shared = places if self.model.config.model_type in NAMED else shared
                places = shared or [one for one in places if not one.path.startswith(inside)]
                if not places:
                    places = [ExpertPlace(experts[0][1])]
            found += [(int(path.rpartition(".")[2]), one) for one in places]
        numbers = [number for number, _ in found]
        if len(set(numbers)) < len(numbers):
            found.sort(key=lambda one: one[1].time)
            return dict(enumerate(place for _, place in found))
        return dict(found)

    def places(self, path: str) -> list[Place]:
        """Every group of neurons under ``path`` that the numbers show, in the order of calls."""
        named = NAMED.get(self.model.config.model_type)
        layer = self.model.get_submodule(path)
        if named is not None:
            down, up, gated = named
            names = dict(layer.named_modules())
            if down not in names:
                return []
            width = names[down].weight.shape[1]
            fused = gated and names[up].weight.shape[0] == 2 * width
            columns = slice(width, 2 * width) if fused else slice(0, width)
            return [Place(path, 0, names[up if gated else down], 0, not gated, columns)]
        calls = [one for one in self.calls if one.path.startswith(path + ".")]
        functions = _functions(layer)
        found = [
            _place(down, [c for c in calls if c.number == down.number], functions) for down in calls
        ]
        return [one for one in found if one is not None and one.width > NARROW]


def _place(down: Call, calls: list[Call], functions: list[Callable[..., Tensor]]) -> Place | None:
    """Where the paper's neurons of the projection ``down`` are, None where nothing matches."""
    post, width = down.given, down.given.shape[-1]
    if post.abs().max() == 0:
        return None
    same = [c for c in calls if c.put.shape == post.shape and c is not down]
    double = [c for c in calls if c.put.shape == (*post.shape[:-1], 2 * width)]
    for f in functions:
        for up in same:
            if _equal(f(up.put), post):
                return Place(down.path, down.time, down.module, down.number, True, slice(0, width))
        for gate, up in product(same, same):
            if gate is not up and _equal(f(gate.put) * up.put, post):
                return Place(up.path, down.time, up.module, up.number, False, slice(0, width))
        for both in double:
            halves = slice(0, width), slice(width, 2 * width)
            for gate, up in (halves, halves[::-1]):
                if _equal(f(both.put[..., gate]) * both.put[..., up], post):
                    return Place(both.path, down.time, both.module, both.number, False, up)
    return None


def _stacked(module: nn.Module) -> bool:
    weight = getattr(module, "down_proj", None)
    return isinstance(weight, Tensor) and weight.dim() == 3


def _functions(layer: nn.Module) -> list[Callable[..., Tensor]]:
    """Activation functions: transformers' own by name, and modules of the layer without names."""
    known: list[Callable[..., Tensor]] = [
        ACT2FN[name] for name in ("silu", "gelu", "gelu_new", "relu", "relu2", "gelu_pytorch_tanh")
    ]
    own = [
        module
        for name, module in layer.named_modules()
        if "act" in name.rpartition(".")[2]
        and not list(module.children())
        and all(one.dim() < 2 for one in module.parameters())
    ]
    return known + own


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5 * b.abs().max())


@dataclass(frozen=True)
class ExpertPlace:
    """Up projections of experts that share two tensors, shifted through their weights."""

    module: Any

    @property
    def width(self) -> int:
        """Neurons of all experts."""
        experts, a, b = self.module.down_proj.shape
        return int(experts * (a if self.transposed else b))

    @property
    def transposed(self) -> bool:
        """Whether the tensors are [experts, in, out]."""
        return bool(getattr(self.module, "is_transposed", False))

    @contextmanager
    def shifted(self, position: int, index: int, amount: float) -> Iterator[None]:
        """As :meth:`Place.shifted`: one token's output comes from moved weights."""
        module = self.module
        gated = getattr(module, "has_gate", True)
        weight = module.gate_up_proj if gated else module.up_proj
        n = self.width // len(weight)
        e, j = divmod(index, n)

        def hook(_: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
            x, chosen, share = (one.reshape(-1, one.shape[-1]) for one in args[:3])
            if not (chosen[position] == e).any():
                return out
            token = x[position]
            out = out.clone()
            rows = out.view(-1, out.shape[-1])
            if gated:
                rows[position] = self._moved(e, j, n, token, amount, chosen, share, position)
                return out
            value = module.act_fn(weight[e, j] @ token)
            part = share[position][chosen[position] == e].sum() * amount * torch.sign(value)
            rows[position] += part * module.down_proj[e][:, j]
            return out

        handle = module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def _moved(
        self,
        e: int,
        j: int,
        n: int,
        token: Tensor,
        amount: float,
        chosen: Tensor,
        share: Tensor,
        position: int,
    ) -> Tensor:
        module = self.module
        row = n + j if getattr(module, "is_concatenated", True) else 2 * j + 1
        tensor = module.gate_up_proj.data
        line = tensor[e, :, row] if self.transposed else tensor[e, row]
        kept = line.clone()
        value = kept @ token
        if getattr(module, "has_bias", False):
            value = value + module.gate_up_proj_bias[e, row]
        line += amount * torch.sign(value) * token / token.square().sum()
        one = slice(position, position + 1)
        try:
            return type(module).forward(module, token[None], chosen[one], share[one])[0]
        finally:
            line.copy_(kept)
