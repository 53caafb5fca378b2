"""Describe a language model as the engine sees it: norms, projections, blocks.

A family (:mod:`negkernel.families`) describes a Hugging Face model with these parts and nothing
else. They hold references to the model's own modules, never copies, so weights that a user edits
in place are seen by the next call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from negkernel.families.projection import UNBOUND
from negkernel.families.projection import Precision as Precision
from negkernel.families.projection import Projection as Projection
from negkernel.families.resident import Loader, device_of
from negkernel.families.rotary import Angles


@dataclass(frozen=True)
class Norm:
    """RMSNorm or LayerNorm: ``kind`` is "rms" or "layer", ``offset`` is added to the weight."""

    module: nn.Module
    eps: float
    kind: str = "rms"
    offset: float = 0.0
    precision: Precision = UNBOUND

    def gain(self) -> Tensor | None:
        """Return the multiplicative weight in the state dtype, None if there is none.

        [H] over the normed axis; [heads, D] where each head has its own.
        """
        weight = getattr(self.module, "weight", None)
        if weight is None:
            return None
        gain = weight.detach().to(self.precision.state)
        return gain + self.offset if self.offset else gain

    def __call__(self, x: Tensor) -> Tensor:
        """Norm of the states ``x`` [..., H] over the last axis, in the state dtype."""
        gain = self.gain()
        if self.kind == "layer":
            bias = getattr(self.module, "bias", None)
            bias = None if bias is None else bias.detach().to(self.precision.state)
            if gain is not None and gain.dim() > 1:
                return F.layer_norm(x, x.shape[-1:], eps=self.eps).mul_(gain)
            return F.layer_norm(x, x.shape[-1:], gain, bias, self.eps)
        # One pass for the mean square: x.pow(2) would write a tensor the size of the stream.
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_() / x.shape[-1]
        y = x * torch.rsqrt(mean_square + self.eps)
        return y if gain is None else y.mul_(gain)


@dataclass(frozen=True)
class Attention:
    """Self-attention: projections, head counts, scaling and what is odd about it.

    Attributes
    ----------
    rotary : Angles or None
        RoPE of this layer; layers that rotate alike share one object. None where positions are
        learned, or not told at all.
    query_norm, key_norm : Norm or None
        Norms of each head's query and key before RoPE (Qwen3).
    joint_norm : bool
        The two norms run over all heads together instead (OLMo 2).
    window : int or None
        A query sees tokens at distances below it, those before it (and after it in a masked
        model); None sees everything.
    softcap : float or None
        Scores become ``softcap * tanh(score / softcap)``.
    """

    query: Projection
    key: Projection
    value: Projection
    output: Projection
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    rotary: Angles | None = None
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    joint_norm: bool = False
    window: int | None = None
    softcap: float | None = None

    def for_norm(self, heads: Tensor) -> Tensor:
        """Return heads [T, n, D] in the shape that ``query_norm`` and ``key_norm`` run over."""
        return heads.flatten(1) if self.joint_norm else heads


@dataclass(frozen=True)
class MLP:
    """Feed-forward layer ``down(act(gate(x)) * up(x))``, or ``down(act(up(x)))`` without a gate."""

    up: Projection
    down: Projection
    activation: str
    gate: Projection | None = None


@dataclass(frozen=True)
class Block:
    """One layer.

    ``x -> attention_sum(x + scale * attention_out(attention(attention_in(x))))``, then the same
    with the MLP; ``parallel`` blocks feed the MLP from the block's input instead. A norm that a
    family lacks is None and means identity; the two of the sums are those of post-norm models.
    ``loaders`` bring in weights that lie elsewhere, see :mod:`negkernel.families.resident`.
    """

    attention: Attention
    mlp: MLP
    attention_in: Norm | None = None
    mlp_in: Norm | None = None
    attention_out: Norm | None = None
    mlp_out: Norm | None = None
    attention_sum: Norm | None = None
    mlp_sum: Norm | None = None
    parallel: bool = False
    residual_scale: float = 1.0
    loaders: tuple[Loader, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where this layer's weights live."""
        module: Any = self.mlp.down.module
        return device_of(getattr(module, "source", module))

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        return self.mlp.down.precision


@dataclass(frozen=True)
class Description:
    """A causal or masked language model as the delta forward sees it.

    Attributes
    ----------
    embed : callable
        Token ids [T] and positions [T] -> residual stream [T, H] in the state dtype. The nodes
        are those of prompts one after the other; only a causal model's may share beginnings.
    projection, activation, head_norm
        What stands between the final norm and the head, in this order, each None where it is
        missing: a projection (OPT-350m), in masked models with a nonlinearity and a norm.
    logit_scale, softcap : float
        Logits are ``logit_scale * head(x)``, then capped as in :class:`Attention`.
    causal : bool
        Tokens see those before them and themselves, or all tokens.
    embed_loaders, head_loaders : tuple of Loader
        What brings in the weights below and above the layers.
    """

    blocks: tuple[Block, ...]
    embed: Callable[[Tensor, Tensor], Tensor]
    head: Projection
    final_norm: Norm | None = None
    projection: Projection | None = None
    logit_scale: float = 1.0
    softcap: float | None = None
    activation: str | None = None
    head_norm: Norm | None = None
    causal: bool = True
    embed_loaders: tuple[Loader, ...] = ()
    head_loaders: tuple[Loader, ...] = ()

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        return self.head.precision

    @property
    def rotaries(self) -> tuple[Angles, ...]:
        """The different RoPEs of its layers."""
        found = [block.attention.rotary for block in self.blocks]
        return tuple(dict.fromkeys(rotary for rotary in found if rotary is not None))

    @property
    def brought(self) -> bool:
        """Whether any weights are brought in for each pass."""
        ends = self.embed_loaders + self.head_loaders
        return bool(ends) or any(block.loaders for block in self.blocks)

    def projections(self) -> list[Projection]:
        """Every linear map that is read."""
        found = [self.head] if self.projection is None else [self.head, self.projection]
        for block in self.blocks:
            spec, mlp = block.attention, block.mlp
            found += [spec.query, spec.key, spec.value, spec.output, mlp.up, mlp.down]
            found += [] if mlp.gate is None else [mlp.gate]
        return found

    def rotary_length(self, length: int) -> tuple[int, ...]:
        """Key of a prompt length: prompts with equal keys share RoPE frequencies.

        Only those may share the keys of a common prefix; dynamic and long RoPE depend on the
        prompt's length.
        """
        return tuple(rotary.length_key(length) for rotary in self.rotaries)


def exchanged(part: Any, others: dict[nn.Module, Any]) -> Any:
    """Return ``part`` with projections of what takes their modules' place in ``others``."""
    if isinstance(part, tuple):
        return tuple(exchanged(one, others) for one in part)
    if isinstance(part, Projection):
        return replace(part, module=others.get(part.module, part.module))
    if not is_dataclass(part) or isinstance(part, type):
        return part
    return replace(part, **{f.name: exchanged(getattr(part, f.name), others) for f in fields(part)})


def bind(part: Any, precision: Precision) -> Any:
    """Return ``part`` with every norm and projection in it computing in ``precision``."""
    if isinstance(part, tuple):
        return tuple(bind(one, precision) for one in part)
    if not is_dataclass(part) or isinstance(part, type | Precision):
        return part
    bound = {field.name: bind(getattr(part, field.name), precision) for field in fields(part)}
    return replace(part, **(bound | {"precision": precision} if "precision" in bound else bound))
