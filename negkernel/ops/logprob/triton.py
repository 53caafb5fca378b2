"""Delta log-prob on the GPU: the launcher of the log-prob kernel, one launch for all of it."""

import torch

from negkernel.ops import _triton
from negkernel.ops.logprob.tiles import Head, log_total


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _triton.available()


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
    """Return None if the Triton kernel runs this call, else why not."""
    if callable(weight):
        return "the head comes in tiles, the Triton kernel reads one matrix"
    if weight.requires_grad and torch.is_grad_enabled():
        return "the head requires grad, the Triton kernels record no graph"
    return _triton.why_not((dn, base_logprob, targets, row_prompt, base_logits))


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
    from negkernel.ops.logprob.configs import block_r, group, share
    from negkernel.ops.logprob.kernel import tuned_for_float32, tuned_for_half

    assert isinstance(weight, torch.Tensor)
    (R, H), (V, K) = dn.shape, (weight.shape[0], targets.shape[1])
    dz_target = dn.new_zeros(R, K)
    if R == 0:
        return dz_target
    half = weight.dtype != torch.float32
    BLOCK_R = block_r(R, half)
    row_blocks, GROUP = -(-R // BLOCK_R), group(R, BLOCK_R, H * weight.element_size())
    part = share(V, GROUP, _triton.processors(dn))
    parts = -(-V // part)
    sums = dn.new_empty(parts, 3, R)
    kernel = tuned_for_half if half else tuned_for_float32
    with _triton.on(dn):
        kernel[(row_blocks * parts,)](
            dn.to(weight.dtype).contiguous(),
            weight.contiguous(),
            base_logprob.contiguous(),
            None if softcap is None or base_logits is None else base_logits.contiguous(),
            targets.contiguous(),
            row_prompt.contiguous(),
            sums,
            dz_target,
            R=R,
            V=V,
            H=H,
            K=K,
            share=part,
            scale=scale,
            softcap=softcap or 0.0,
            CAPPED=softcap is not None,
            INTERPRETED=not dn.is_cuda,
            GROUP=GROUP,
            BLOCK_R=BLOCK_R,
        )
    E, M, Z = sums.double().unbind(1)
    E, log_Z = E.sum(0), torch.logsumexp(M + Z.log(), 0)
    return (dz_target - log_total(E, log_Z)[:, None]).to(dn.dtype)
