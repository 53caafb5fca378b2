"""Last-token delta attention on the CPU: csrc/attention."""

import torch

from negkernel.ops import _ext


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _ext.why_not("attention", ())


def supports(*tensors: torch.Tensor, scale: float, softcap: float | None = None) -> str | None:
    """Return None if the C++ kernel runs this call, else why not."""
    return _ext.why_not("attention", tensors)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    prefix_k: torch.Tensor,
    prefix_v: torch.Tensor,
    prefix_start: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    scale: float,
    softcap: float | None = None,
) -> torch.Tensor:
    """Return the difference of the heads' outputs; see `negkernel.ops.attention.attention`."""
    do = torch.empty_like(dq)
    _ext.kernels().attention(
        *map(_ext.address, (q, k, v, dq, dk, dv, prefix_k, prefix_v, prefix_start, row_prompt)),
        _ext.address(do),
        P=k.shape[0],
        R=dq.shape[0],
        T=prefix_k.shape[0],
        Hq=dq.shape[1],
        Hkv=k.shape[1],
        D=k.shape[2],
        scale=scale,
        softcap=softcap or 0.0,
        num_threads=torch.get_num_threads(),
    )
    return do
