"""A few rows times a matrix in plain torch."""

import torch


def available() -> str | None:
    """Return None: the reference runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


def skinny(y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return `y @ weight`; see `negkernel.ops.skinny.skinny`."""
    return y @ weight
