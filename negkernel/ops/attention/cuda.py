"""Last-token delta attention in CUDA C++: csrc/attention/attention_cuda.cu, if it was built.

Never chosen by itself where Triton runs: it has not been measured against it (bench/ladder).
"""

import torch

from negkernel.ops import _ext

HEAD_SIZES = (64, 128)


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    if not hasattr(_ext.module(), "cuda"):
        return "it was not built: reinstall with NEGKERNEL_CUDA=1 and nvcc"
    return None if torch.cuda.is_available() else "no GPU here"


def supports(*tensors: torch.Tensor, scale: float, softcap: float | None = None) -> str | None:
    """Return None if the CUDA kernel runs this call, else why not."""
    if why_not := available():
        return why_not
    if (head_size := tensors[0].shape[-1]) not in HEAD_SIZES:
        return f"head size is {head_size}, the CUDA kernel is for {HEAD_SIZES}"
    for tensor in tensors:
        if not tensor.is_cuda:
            return f"a tensor is on {tensor.device}, the CUDA kernel is for the GPU"
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return f"a tensor is {tensor.dtype}, the CUDA kernel is for float32"
        if tensor.requires_grad and torch.is_grad_enabled():
            return "a tensor requires grad, the CUDA kernel records no graph"
    return None


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
    (P, Hkv, D), (R, Hq, _), T = k.shape, dq.shape, prefix_k.shape[0]
    read = [
        tensor.contiguous()
        for tensor in (q, k, v, dq, dk, dv, prefix_k, prefix_v, prefix_start, row_prompt)
    ]
    scratch = [q.new_empty(shape) for shape in ((Hq, T), (P, Hq), (P, Hq), (P, Hq, D))]
    do = dq.new_empty(R, Hq, D)
    with torch.cuda.device(q.device):
        _ext.module().cuda.attention(  # type: ignore[union-attr]
            *map(_ext.address, (*read, *scratch, do)),
            P=P,
            R=R,
            T=T,
            Hq=Hq,
            Hkv=Hkv,
            D=D,
            scale=scale,
            softcap=softcap or 0.0,
            stream=torch.cuda.current_stream().cuda_stream,
        )
    return do
