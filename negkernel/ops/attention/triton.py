"""Last-token delta attention on the GPU: the launcher of `base_kernel` and `attention_kernel`."""

import torch

from negkernel.ops import _triton


def available() -> str | None:
    """Return None if the kernels can run here, else why not."""
    return _triton.available()


def supports(*tensors: torch.Tensor, scale: float, softcap: float | None = None) -> str | None:
    """Return None if the Triton kernels run this call, else why not."""
    return _triton.why_not(tensors)


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
    from negkernel.ops.attention.configs import PRECISION, block_m
    from negkernel.ops.attention.kernel import attention_kernel, base_kernel

    (P, Hkv, D), (R, Hq, _), T = k.shape, dq.shape, prefix_k.shape[0]
    do = dq.new_empty(R, Hq, D)
    if do.numel() == 0:
        return do
    q, k, v, dq, dk, dv, prefix_k, prefix_v, prefix_start, row_prompt = (
        tensor.contiguous()
        for tensor in (q, k, v, dq, dk, dv, prefix_k, prefix_v, prefix_start, row_prompt)
    )
    score, log_sum, score_self, o = (
        q.new_empty(shape) for shape in ((Hq, T), (P, Hq), (P, Hq), q.shape)
    )
    G, BLOCK_D = Hq // Hkv, max(16, _triton.power_of_two(D))
    BLOCK_M = block_m(R * G, BLOCK_D)
    capped = {"softcap": softcap or 0.0, "CAPPED": softcap is not None}
    with _triton.on(q):
        base_kernel[(P, Hq)](
            *(q, k, v, prefix_k, prefix_v, prefix_start),
            *(score, score_self, log_sum, o),
            T=T,
            Hkv=Hkv,
            D=D,
            scale=scale,
            **capped,
            BLOCK_S=32,
            BLOCK_D=BLOCK_D,
        )
        attention_kernel[(-(-R * G // BLOCK_M), Hkv)](
            *(q, k, v, dq, dk, dv, prefix_k, prefix_v, prefix_start, row_prompt),
            *(score, score_self, log_sum, o, do),
            R=R,
            T=T,
            Hkv=Hkv,
            G=G,
            D=D,
            scale=scale,
            **capped,
            PRECISION=PRECISION,
            BLOCK_M=BLOCK_M,
            BLOCK_D=BLOCK_D,
        )
    return do
