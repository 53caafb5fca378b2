"""Delta MLP on the CPU: csrc/mlp."""

import torch

from negkernel.ops import _ext


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _ext.why_not("mlp", ())


def supports(
    gate: torch.Tensor | None,
    up: torch.Tensor,
    dgate: torch.Tensor | None,
    dup: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    activation: str = "silu",
) -> str | None:
    """Return None if the C++ kernel runs this call, else why not."""
    return _ext.why_not("mlp", (gate, up, dgate, dup, row_prompt))


def mlp(
    gate: torch.Tensor | None,
    up: torch.Tensor,
    dgate: torch.Tensor | None,
    dup: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    activation: str = "silu",
) -> torch.Tensor:
    """Return the difference of the down projection's input; see `negkernel.ops.mlp.mlp`."""
    dh = torch.empty_like(dup)
    _ext.kernels().mlp(
        _ext.address(gate),
        _ext.address(up),
        _ext.address(dgate),
        _ext.address(dup),
        _ext.address(row_prompt),
        _ext.address(dh),
        P=up.shape[0],
        R=dup.shape[0],
        I=dup.shape[1],
        activation=activation,
        num_threads=torch.get_num_threads(),
    )
    return dh
