"""The parts of a decoder as the engine sees them: norms, projections, blocks.

A family (:mod:`negkernel.families`) describes a Hugging Face model with these parts and nothing
else. They hold references to the model's own modules, never copies, so weights that a user edits
in place are seen by the next call. Every projection is reached through :class:`Projection`: the
engine only ever needs ``W x``, ``W^T y`` and columns of ``W``, which is also all that a quantized
matrix can offer cheaply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from negkernel.families.weights import dense_shape, dense_weight


@dataclass(frozen=True)
class Precision:
    """Which dtype carries what.

    Attributes
    ----------
    state : torch.dtype
        Residual stream, differences, norms, softmax: float32, or float64 for a float64 model.
    operand : torch.dtype
        What matrix multiplications read. Results always come back in ``state``.
    """

    state: torch.dtype
    operand: torch.dtype

    def rounded(self, x: Tensor) -> Tensor:
        """``x`` as a matrix product would read it, in the state dtype."""
        return x.to(self.operand).to(self.state)

    def matmul(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x @ weight.T`` with operands in ``operand`` and the result in ``state``.

        The CPU has no matrix unit that takes half-precision operands and returns float32, so there
        the operands are rounded first (if asked for) and multiplied in float32: what a tensor core
        computes, since a product of two bf16 numbers is exact in float32.
        """
        if x.is_cuda and self.operand != self.state:
            return torch.mm(x.to(self.operand), weight.to(self.operand).t(), out_dtype=self.state)
        return F.linear(self.rounded(x), self.rounded(weight))


@dataclass(frozen=True)
class Projection:
    """One linear map ``W`` [out, in] of the model, bias kept apart.

    Attributes
    ----------
    module : nn.Module
        ``nn.Linear``, a transposed ``Conv1D``, or a bitsandbytes layer.
    rows : slice or None
        The part of the output that belongs to this projection, for fused matrices
        (``gate_up_proj``, ``query_key_value``). None means all of it.
    """

    module: nn.Module
    rows: slice | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in), without touching the weights."""
        out, inner = dense_shape(self.module)
        return (out, inner) if self.rows is None else (len(range(out)[self.rows]), inner)

    @property
    def weight(self) -> Tensor:
        """``W`` [out, in], dequantized if need be."""
        weight = dense_weight(self.module)
        return weight if self.rows is None else weight[self.rows]

    @property
    def bias(self) -> Tensor | None:
        """The bias [out], or None."""
        bias = getattr(self.module, "bias", None)
        return bias if bias is None or self.rows is None else bias[self.rows]

    def linear(self, x: Tensor, precision: Precision) -> Tensor:
        """``W x`` for rows ``x`` [R, in]: what differences go through."""
        return precision.matmul(x, self.weight)

    def affine(self, x: Tensor, precision: Precision) -> Tensor:
        """``W x + b`` for rows ``x`` [R, in]: what states go through."""
        y = self.linear(x, precision)
        return y if self.bias is None else y.add_(self.bias.to(y.dtype))

    def transpose(self, y: Tensor, precision: Precision) -> Tensor:
        """``W^T y`` for rows ``y`` [R, out]: what gradients go through."""
        return precision.matmul(y, self.weight.t())

    def columns(self, index: Tensor, precision: Precision) -> Tensor:
        """Columns ``W[:, index]`` as rows [len(index), out] in the state dtype."""
        weight = self.weight
        return weight[:, index.to(weight.device)].t().to(precision.state).contiguous()


@dataclass(frozen=True)
class Norm:
    """RMSNorm or LayerNorm: ``kind`` is "rms" or "layer", ``offset`` is added to the weight."""

    module: nn.Module
    eps: float
    kind: str = "rms"
    offset: float = 0.0

    def gain(self, precision: Precision) -> Tensor | None:
        """Return the multiplicative weight [H] in the state dtype, None if there is none."""
        weight = getattr(self.module, "weight", None)
        if weight is None:
            return None
        gain = weight.detach().to(precision.state)
        return gain + self.offset if self.offset else gain

    def __call__(self, x: Tensor, precision: Precision) -> Tensor:
        """Norm of the states ``x`` [..., H] over the last axis, in the state dtype."""
        gain = self.gain(precision)
        if self.kind == "layer":
            bias = getattr(self.module, "bias", None)
            bias = None if bias is None else bias.detach().to(precision.state)
            return F.layer_norm(x, x.shape[-1:], gain, bias, self.eps)
        # One pass for the mean square: x.pow(2) would write a tensor the size of the stream.
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_() / x.shape[-1]
        y = x * torch.rsqrt(mean_square + self.eps)
        return y if gain is None else y.mul_(gain)


@dataclass(frozen=True)
class Attention:
    """Causal self-attention: projections, head counts, scaling and what is odd about it.

    Attributes
    ----------
    query_norm, key_norm : Norm or None
        Norms of each head's query and key before RoPE (Qwen3).
    window : int or None
        A query sees itself and the ``window - 1`` tokens before it; None sees everything.
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
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True)
class MLP:
    """Feed-forward layer ``down(act(gate(x)) * up(x))``, or ``down(act(up(x)))`` without a gate."""

    up: Projection
    down: Projection
    activation: str
    gate: Projection | None = None


@dataclass(frozen=True)
class Block:
    """One decoder layer.

    ``x -> x + scale * attention_out(attention(attention_in(x)))``, then the same with the MLP;
    ``parallel`` blocks feed the MLP from the block's input instead. A norm that a family lacks is
    None and means identity.
    """

    attention: Attention
    mlp: MLP
    attention_in: Norm | None
    mlp_in: Norm | None
    attention_out: Norm | None = None
    mlp_out: Norm | None = None
    parallel: bool = False
    residual_scale: float = 1.0

    @property
    def device(self) -> torch.device:
        """Where this layer's weights live."""
        return next(self.mlp.down.module.parameters()).device


@dataclass(frozen=True)
class Decoder:
    """A causal language model as the delta forward sees it.

    Attributes
    ----------
    embed : callable
        Token ids [T] and positions [T] -> residual stream [T, H] in the state dtype.
    rotary : callable or None
        Positions [T] and the prompt's length -> (cos, sin), each [T, D], float32.
    rotary_length : callable
        Prompt length -> hashable key; prompts with the same key share RoPE frequencies, hence
        may share the keys of a common prefix (dynamic and long RoPE depend on the length).
    logit_scale, softcap : float
        Logits are ``logit_scale * head(x)``, then capped as in :class:`Attention`.
    """

    blocks: tuple[Block, ...]
    embed: Callable[[Tensor, Tensor], Tensor]
    final_norm: Norm
    head: Projection
    rotary: Callable[[Tensor, int], tuple[Tensor, Tensor]] | None
    rotary_length: Callable[[int], int] = lambda length: 0
    logit_scale: float = 1.0
    softcap: float | None = None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)
