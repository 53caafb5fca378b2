"""Delta norm on the CPU: csrc/norm."""

import math

import torch

from negkernel.ops import _ext


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _ext.why_not("norm", ())


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
    """Return None if the C++ kernel runs this call, else why not."""
    return _ext.why_not("norm", (x, d, row_prompt, weight, branch))


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
    dn = torch.empty_like(d)
    _ext.kernels().norm(
        _ext.address(x),
        _ext.address(d),
        _ext.address(branch),
        _ext.address(weight),
        _ext.address(row_prompt),
        _ext.address(dn),
        P=x.shape[0],
        R=d.shape[0],
        heads=math.prod(d.shape[1:-1]),
        H=d.shape[-1],
        eps=eps,
        layer=kind == "layer",
        num_threads=torch.get_num_threads(),
    )
    return dn
