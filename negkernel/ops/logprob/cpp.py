"""Delta log-prob on the CPU: torch's GEMM per vocabulary tile, then csrc/logprob."""

import torch

from negkernel.ops import _ext
from negkernel.ops.logprob.tiles import Head, log_total, logit_tiles


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _ext.why_not("logprob", ())


def supports(
    dn: torch.Tensor,
    weight: Head,
    base_logprob: torch.Tensor,
    targets: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    tile: int = 4096,
    softcap: float | None = None,
    base_logits: torch.Tensor | None = None,
    scale: float = 1.0,
) -> str | None:
    """Return None if the C++ kernel runs this call, else why not."""
    return _ext.why_not("logprob", (dn, base_logprob, targets, row_prompt))


def logprob(
    dn: torch.Tensor,
    weight: Head,
    base_logprob: torch.Tensor,
    targets: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    tile: int = 4096,
    softcap: float | None = None,
    base_logits: torch.Tensor | None = None,
    scale: float = 1.0,
) -> torch.Tensor:
    """Return d log p of the targets; see `negkernel.ops.logprob.logprob`."""
    R, K = dn.shape[0], targets.shape[1]
    P, V = base_logprob.shape
    dz_target = dn.new_zeros(R, K)
    # E, and Z as Z e^M: the empty sum is 0 e^-inf.
    sums = torch.tensor([0.0, -torch.inf, 0.0], dtype=torch.float64).repeat(R, 1)
    kernel, num_threads = _ext.kernels().logprob, torch.get_num_threads()
    for rows, vocabulary, dz in logit_tiles(
        dn,
        weight,
        row_prompt,
        V,
        tile=tile,
        softcap=softcap,
        base_logits=base_logits,
        scale=scale,
    ):
        kernel(
            _ext.address(dz),
            _ext.address(base_logprob),
            _ext.address(targets),
            _ext.address(row_prompt[rows]),
            _ext.address(sums[rows]),
            _ext.address(dz_target[rows]),
            P=P,
            R=dz.shape[0],
            V=V,
            K=K,
            start=vocabulary.start,
            width=dz.shape[1],
            num_threads=num_threads,
        )
    E, M, Z = sums.unbind(1)
    return (dz_target - log_total(E, M + torch.log(Z))[:, None]).to(dn.dtype)
