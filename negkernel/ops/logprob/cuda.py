"""Delta log-prob in CUDA C++: cuBLAS for a tile of the vocabulary, then csrc/logprob, if built.

Never chosen by itself where Triton runs: it has not been measured against it (bench/ladder).
"""

import torch

from negkernel.ops import _ext
from negkernel.ops.logprob.tiles import Head, log_total

# Of a tile of logit differences: 33 MB, which stay in the L2 cache between its two kernels.
ROWS, VOCABULARY = 2048, 4096


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    if not hasattr(getattr(_ext.module(), "cuda", None), "logprob"):
        return "it was not built: reinstall with NEGKERNEL_CUDA=1 and nvcc"
    return None if torch.cuda.is_available() else "no GPU here"


def supports(
    dn: torch.Tensor,
    weight: Head,
    base_logprob: torch.Tensor,
    targets: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    tile: int = VOCABULARY,
    softcap: float | None = None,
    base_logits: torch.Tensor | None = None,
    scale: float = 1.0,
) -> str | None:
    """Return None if the CUDA kernel runs this call, else why not."""
    if why_not := available():
        return why_not
    if callable(weight):
        return "the head comes in tiles, the CUDA kernel reads one matrix"
    for tensor in (dn, weight, base_logprob, targets, row_prompt, base_logits):
        if tensor is None:
            continue
        if not tensor.is_cuda:
            return f"a tensor is on {tensor.device}, the CUDA kernel is for the GPU"
        if tensor.dtype == torch.float64:
            return "a tensor is float64, the CUDA kernel is for float32"
        if tensor.requires_grad and torch.is_grad_enabled():
            return "a tensor requires grad, the CUDA kernel records no graph"
    return None


def logprob(
    dn: torch.Tensor,
    weight: Head,
    base_logprob: torch.Tensor,
    targets: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    tile: int = VOCABULARY,
    softcap: float | None = None,
    base_logits: torch.Tensor | None = None,
    scale: float = 1.0,
) -> torch.Tensor:
    """Return d log p of the targets; see `negkernel.ops.logprob.logprob`."""
    assert isinstance(weight, torch.Tensor)
    (R, _), (V, K) = dn.shape, (weight.shape[0], targets.shape[1])
    dn, base_logprob, targets, row_prompt = (
        tensor.contiguous() for tensor in (dn.to(weight.dtype), base_logprob, targets, row_prompt)
    )
    logits = base_logprob if base_logits is None else base_logits.contiguous()
    dz_target = base_logprob.new_zeros(R, K)
    # E, and Z as Z e^M: the empty sum is 0 e^-inf.
    sums = torch.zeros(R, 3, dtype=torch.float64, device=dn.device)
    sums[:, 1] = -torch.inf
    kernel = _ext.module().cuda.logprob  # type: ignore[union-attr]
    with torch.cuda.device(dn.device):
        stream = torch.cuda.current_stream().cuda_stream
        for first in range(0, R, ROWS):
            rows = slice(first, min(first + ROWS, R))
            for start in range(0, V, tile):
                head = weight[start : start + tile].t()
                if weight.dtype == torch.float32:
                    dz = dn[rows] @ head
                else:
                    dz = torch.mm(dn[rows], head, out_dtype=torch.float32)
                kernel(
                    *map(_ext.address, (dz, base_logprob, logits, targets, row_prompt[rows])),
                    *map(_ext.address, (sums[rows], dz_target[rows])),
                    R=rows.stop - rows.start,
                    V=V,
                    K=K,
                    start=start,
                    width=dz.shape[1],
                    scale=scale,
                    softcap=softcap or 0.0,
                    stream=stream,
                )
    E, M, Z = sums.unbind(1)
    return (dz_target - log_total(E, M + torch.log(Z))[:, None]).to(base_logprob.dtype)
