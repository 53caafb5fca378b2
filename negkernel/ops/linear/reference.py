"""Rows times a matrix in plain torch."""

import torch
import torch.nn.functional as F


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


def linear(
    x: torch.Tensor, weight: torch.Tensor, *, operand: torch.dtype | None = None
) -> torch.Tensor:
    """Return `x @ weight.T`; see `negkernel.ops.linear.linear`."""
    return F.linear(*rounded(x, weight, operand))


def rounded(
    x: torch.Tensor, weight: torch.Tensor, operand: torch.dtype | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both factors rounded to `operand`, in the dtype of `x`."""
    operand = operand or x.dtype
    return x.to(operand).to(x.dtype), weight.to(operand).to(x.dtype)
