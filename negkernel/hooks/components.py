"""Catch what is no feed-forward neuron: attention heads, and directions in a layer's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from negkernel.families.feed_forward import Absent, Edit, Site
from negkernel.families.weights import dense_shape
from negkernel.hooks.dense import Dense, HookSite
from negkernel.hooks.modules import feed_forward_of, layers_of, part
from negkernel.sites import coordinates

# (query, output) projections by attribute path within an attention module
_NAMES = (
    ("q_proj", "o_proj"),
    ("q_proj", "out_proj"),
    ("q_proj", "dense"),
    ("q_b_proj", "o_proj"),
    ("qkv_proj", "o_proj"),
    ("query_key_value", "dense"),
    ("c_attn", "c_proj"),
    ("self.query", "output.dense"),
    ("q_lin", "out_lin"),
    ("Wqkv", "Wo"),
    ("Wqkv", "out_proj"),
)
_WORDS = ("attn", "attention")


@dataclass(frozen=True)
class HeadSite:
    """A layer's heads as factors of 1 on equal slices of the output projection's input."""

    whole: HookSite
    heads: int

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """See :class:`negkernel.families.feed_forward.Site`."""

        def multiply(x: Tensor) -> Tensor | None:
            factor = x.new_ones(len(x), self.heads, dtype=_wide(x))
            changed = edit(factor)
            if changed is None:
                return None
            slices = x.reshape(len(x), self.heads, -1)
            return (slices * changed[..., None]).to(x).flatten(1)

        return self.whole.edited(multiply)


@dataclass(frozen=True)
class DirectionSite:
    """Coordinates of a module's output along ``vectors`` [n, H]."""

    whole: HookSite
    vectors: Tensor

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """See :class:`negkernel.families.feed_forward.Site`."""

        def move(x: Tensor) -> Tensor | None:
            vectors = self.vectors.to(x.device, _wide(x))
            before = coordinates(x.to(vectors), vectors)
            changed = edit(before)
            return None if changed is None else (x + (changed - before) @ vectors).to(x)

        return self.whole.edited(move)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def head_sites(model: nn.Module, config: Any) -> list[tuple[int, Site]]:
    """Each layer's number of heads, and where they are caught; 0 in a layer without attention.

    Raises
    ------
    NotImplementedError
        The output projections or the number of heads cannot be told.
    """
    count = getattr(config, "num_attention_heads", None)
    found: list[tuple[int, Site]] = []
    for index, layer in enumerate(layers_of(model, config)):
        output = _attention_output(model, layer, index)
        if output is None:
            found.append((0, Absent()))
            continue
        linear = hasattr(output, "in_features") or hasattr(output, "nf")
        width = dense_shape(output)[1] if linear else 0
        if not width or not isinstance(count, int) or width % count:
            raise NotImplementedError(
                f"layer {index} of {type(model).__name__} projects {width} numbers, which are not "
                f"{count} heads: its heads cannot be told apart"
            )
        found.append((count, HeadSite(HookSite(output, True, 0, width, width), count)))
    return found


def direction_sites(
    model: nn.Module, config: Any, at: str, vectors: dict[int, Tensor]
) -> Iterator[Site]:
    """Yield where each layer's coordinates are caught, along ``vectors[layer]`` [n, H] if any.

    Parameters
    ----------
    at : {"residual", "mlp_out", "attention_out"}

    Raises
    ------
    NotImplementedError
        A layer has no such output, or one that cannot be told.
    """
    for index, layer in enumerate(layers_of(model, config)):
        if index not in vectors:
            yield Absent()
            continue
        module: nn.Module | None = layer
        if at == "attention_out":
            module = _attention_output(model, layer, index)
        elif at == "mlp_out":
            dense = feed_forward_of(layer)
            routed = any(hasattr(one, "experts") for one in layer.modules())
            module = dense.down if isinstance(dense, Dense) and not routed else None
        if module is None:
            raise NotImplementedError(
                f"layer {index} of {type(model).__name__} has no {at!r} that is one projection's "
                "output; use at='residual'"
            )
        width = vectors[index].shape[1]
        yield DirectionSite(HookSite(module, False, 0, width, width), vectors[index])


def _attention_output(model: nn.Module, layer: nn.Module, index: int) -> nn.Module | None:
    """Output projection of a layer's attention; None where it has no attention."""
    for module in layer.modules():
        for query, output in _NAMES:
            both = part(module, query), part(module, output)
            if all(isinstance(one, nn.Module) for one in both):
                return both[1]
    for path, _ in layer.named_modules():
        if any(word in path.rpartition(".")[2].lower() for word in _WORDS):
            raise NotImplementedError(
                f"the output projection of {path!r} in layer {index} of {type(model).__name__} is "
                "not known, so that its heads cannot be caught"
            )
    return None
