"""Delta norm on the GPU: the launcher of `norm_kernel`."""

import math

import torch

from negkernel.ops import _triton

# Elements of a program: a long vector alone, short ones (of a head) several together.
ELEMENTS = 2048


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _triton.available()


def supports(
    x: torch.Tensor,
    d: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    weight: torch.Tensor | None,
    eps: float,
    kind: str = "rms",
    branch: torch.Tensor | None = None,
) -> str | None:
    """Return None if the Triton kernel runs this call, else why not."""
    if branch is not None and not d.is_contiguous():
        return "d is not contiguous and would be updated in place"
    return _triton.why_not((x, d, row_prompt, weight, branch))


def norm(
    x: torch.Tensor,
    d: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    weight: torch.Tensor | None,
    eps: float,
    kind: str = "rms",
    branch: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the difference of the norm's output; see `negkernel.ops.norm.norm`."""
    from negkernel.ops.norm.kernel import norm_kernel

    d = d.contiguous()
    dn = torch.empty_like(d)
    R, heads, H = d.shape[0], math.prod(d.shape[1:-1]), d.shape[-1]
    if dn.numel() == 0:
        return dn
    BLOCK_H = _triton.power_of_two(H)
    BLOCK_R = max(1, ELEMENTS // BLOCK_H)
    with _triton.on(d):
        norm_kernel[(-(-R * heads // BLOCK_R),)](
            x.contiguous(),
            d,
            None if branch is None else branch.contiguous(),
            None if weight is None else weight.contiguous(),
            row_prompt.contiguous(),
            dn,
            R,
            heads,
            H,
            eps,
            LAYER=kind == "layer",
            BLOCK_R=BLOCK_R,
            BLOCK_H=BLOCK_H,
            num_warps=min(16, max(4, BLOCK_H // 512)),
        )
    return dn
