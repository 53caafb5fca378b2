"""Injection of shifts on the GPU: the launcher of `shift_kernel`."""

import torch

from negkernel.ops import _triton

BLOCK_H = 1024


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _triton.available()


def supports(
    columns: torch.Tensor, row_column: torch.Tensor, coefficient: torch.Tensor
) -> str | None:
    """Return None if the Triton kernel runs this call, else why not."""
    return _triton.why_not((columns, row_column, coefficient))


def shift(
    columns: torch.Tensor, row_column: torch.Tensor, coefficient: torch.Tensor
) -> torch.Tensor:
    """Return the rows that shifts inject; see `negkernel.ops.shift.shift`."""
    from negkernel.ops.shift.kernel import shift_kernel

    R, H = len(row_column), columns.shape[1]
    d = columns.new_empty(R, H)
    if d.numel() == 0:
        return d
    block = min(BLOCK_H, _triton.power_of_two(H))
    with _triton.on(columns):
        shift_kernel[(R, -(-H // block))](
            columns.contiguous(),
            row_column.contiguous(),
            coefficient.contiguous(),
            d,
            H,
            BLOCK_H=block,
        )
    return d
