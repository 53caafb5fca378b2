"""Delta MLP on the GPU: the launcher of `mlp_kernel`."""

import torch

from negkernel.ops import _triton

BLOCK_I = 1024


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _triton.available()


def supports(
    gate: torch.Tensor | None,
    up: torch.Tensor,
    dgate: torch.Tensor | None,
    dup: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    activation: str = "silu",
) -> str | None:
    """Return None if the Triton kernel runs this call, else why not."""
    return _triton.why_not((gate, up, dgate, dup, row_prompt))


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
    from negkernel.ops.mlp.kernel import mlp_kernel

    dup = dup.contiguous()
    dh = torch.empty_like(dup)
    if dh.numel() == 0:
        return dh
    R, I = dup.shape
    block = min(BLOCK_I, _triton.power_of_two(I))
    with _triton.on(dup):
        mlp_kernel[(R, -(-I // block))](
            None if gate is None else gate.contiguous(),
            up.contiguous(),
            None if dgate is None else dgate.contiguous(),
            dup,
            row_prompt.contiguous(),
            dh,
            I,
            ACTIVATION=activation,
            BLOCK_I=block,
        )
    return dh
