"""Linear maps of the model, and the dtypes they are multiplied in.

Every projection is reached through :class:`Projection`: the engine only ever needs ``W x``,
``W^T y`` and columns of ``W``, which is also all that a quantized matrix can offer cheaply.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from negkernel.families.weights import dense_shape, dense_weight
from negkernel.ops.linear import linear
from negkernel.ops.linear.split import split_rows
from negkernel.ops.skinny import MOST_ROWS, skinny


@dataclass(frozen=True)
class Precision:
    """Which dtype carries what.

    Attributes
    ----------
    state : torch.dtype
        Residual stream, differences, norms, softmax: float32, or float64 for a float64 model.
    operand : torch.dtype
        What products of differences read, which is nearly all work. Results always come back in
        ``state``.
    """

    state: torch.dtype
    operand: torch.dtype

    def rounded(self, x: Tensor) -> Tensor:
        """``x`` as a matrix product would read it, in the state dtype."""
        return x.to(self.operand).to(self.state)

    def factor(self, x: Tensor) -> Tensor:
        """``x`` for several products: cast once where :meth:`matmul` would cast it for each."""
        return x.to(self.operand) if x.is_cuda else x

    def matmul(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x @ weight.T`` for differences, with operands in ``operand``."""
        if x.is_cuda and self.operand != self.state:
            return torch.mm(x.to(self.operand), weight.to(self.operand).t(), out_dtype=self.state)
        return linear(x, weight, operand=self.operand)

    def exact(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x @ weight.T`` for states and gradients, as exact as ``state`` whatever ``operand``.

        A base log-prob from bfloat16 products is off by a tenth of a nat, and with it every
        gradient by 10 %; in float16 the gradients of a sure answer vanish. On a GPU the rows are
        the sum of two of half precision, next to a matrix that the model stores so.

        ``W^T y`` for a prompt's few gradients has a kernel of its own; there the price is reading
        the weights, which rounding them first would triple.
        """
        if x.is_cuda and weight.dtype in (torch.float16, torch.bfloat16):
            halves, scale = split_rows(x, weight.dtype)
            high, low = torch.mm(halves, weight.t(), out_dtype=self.state).chunk(2)
            return torch.ldexp(high + low, scale)
        transposed = weight.t().is_contiguous() and not weight.is_contiguous()
        if transposed and len(x) <= MOST_ROWS:
            return skinny(x.contiguous(), weight.to(self.state).t())
        return linear(x, weight, operand=self.state)


# Of parts that no description has bound to a model's dtypes yet, see ``parts.bind``.
UNBOUND = Precision(torch.float32, torch.float32)


@dataclass(frozen=True)
class Projection:
    """One linear map ``W`` [out, in] of the model, bias kept apart.

    Attributes
    ----------
    module : nn.Module
        ``nn.Linear``, a transposed ``Conv1D``, or a bitsandbytes layer.
    rows : slice, int64 Tensor or None
        The outputs that belong to this projection, for fused matrices: a slice where they lie
        together (``gate_up_proj``), their indices where they do not (``query_key_value`` of
        GPT-NeoX). None means all of them.
    precision : Precision
        What it multiplies in.
    """

    module: nn.Module
    rows: slice | Tensor | None = None
    precision: Precision = UNBOUND

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in), without touching the weights."""
        out, inner = dense_shape(self.module)
        if isinstance(self.rows, slice):
            out = len(range(out)[self.rows])
        elif self.rows is not None:
            out = len(self.rows)
        return out, inner

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

    def linear(self, x: Tensor) -> Tensor:
        """``W x`` for rows ``x`` [R, in]: what differences go through."""
        return self.precision.matmul(x, self.weight)

    def affine(self, x: Tensor) -> Tensor:
        """``W x + b`` for rows ``x`` [R, in]: what states go through."""
        y = self.precision.exact(x, self.weight)
        return y if self.bias is None else y.add_(self.bias.to(y.dtype))

    def transpose(self, y: Tensor) -> Tensor:
        """``W^T y`` for rows ``y`` [R, out]: what gradients go through."""
        return self.precision.exact(y, self.weight.t())

    def columns(self, index: Tensor) -> Tensor:
        """Columns ``W[:, index]`` as rows [len(index), out] in the state dtype."""
        weight = self.weight
        return weight[:, index.to(weight.device)].t().to(self.precision.state).contiguous()
