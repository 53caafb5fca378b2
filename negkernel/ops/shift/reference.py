"""Injection of shifts in plain torch."""

import torch


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


def shift(
    columns: torch.Tensor, row_column: torch.Tensor, coefficient: torch.Tensor
) -> torch.Tensor:
    """Return the rows that shifts inject; see `negkernel.ops.shift.shift`."""
    return coefficient[:, None] * columns[row_column]
