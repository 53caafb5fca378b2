"""Delta log-prob: LM head, softmax and target gather without a [rows, vocabulary] tensor."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.contract import check_floats, check_index, check_shape
from negkernel.ops.logprob import cpp, cuda, reference, triton
from negkernel.ops.logprob.tiles import Head

BACKENDS = {"triton": triton, "cpp": cpp, "cuda": cuda, "reference": reference}


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
    impl: str = "auto",
) -> torch.Tensor:
    """Return log p(target | shifted) - log p(target) for every row and target.

    With dz = weight dn, d log p_t = dz_t - log1p(E), E = sum_v p_v expm1(dz_v). Where |E| > 0.5 the
    sum Z = sum_v exp(log p_v + dz_v - M) with a running maximum M takes over: dz_t - M - log Z.

    Parameters
    ----------
    dn : torch.Tensor
        Difference of the LM head's input, [R, H].
    weight : torch.Tensor or callable
        LM-head weight [V, H], or `weight(start, stop)` that returns rows start to stop of it,
        [stop - start, H], and is called once per tile. A bias of the head cancels. The dtype is
        that of `dn`, or bfloat16 or float16: then `dn` is rounded to it, and the products are
        summed in the dtype of `dn`.
    base_logprob : torch.Tensor
        Base log-probs, [P, V].
    targets : torch.Tensor
        Target tokens, [P, K] int64.
    row_prompt : torch.Tensor
        Prompt of each row, [R] int64.
    tile : int
        Vocabulary entries a tile; a tile's scratch is at most [4096, tile].
    softcap : float, optional
        Final logits are softcap * tanh(scale * z / softcap) for the head's output z.
    base_logits : torch.Tensor, optional
        Base output z of the head, before scale and soft-cap, [P, V]; needed with `softcap`.
    scale : float
        Factor of the logits.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        Differences of the targets' log-probs in nats, [R, K].
    """
    matrix = None if callable(weight) else weight
    half = matrix is not None and matrix.dtype in (torch.bfloat16, torch.float16)
    check_floats(
        "logprob",
        dn=dn,
        base_logprob=base_logprob,
        weight=None if half else matrix,
        base_logits=base_logits,
    )
    R, H = dn.shape
    P, V = base_logprob.shape
    if matrix is not None:
        check_shape("logprob", "weight", matrix, V, H)
    check_index("logprob", "targets", targets, P, targets.shape[-1])
    check_index("logprob", "row_prompt", row_prompt, R)
    if softcap is not None:
        if base_logits is None:
            raise ValueError("logprob: softcap needs base_logits [P, V], got None")
        check_shape("logprob", "base_logits", base_logits, P, V)
    return dispatch.call(
        "logprob",
        BACKENDS,
        impl,
        dn,
        weight,
        base_logprob,
        targets,
        row_prompt,
        tile=tile,
        softcap=softcap,
        base_logits=base_logits,
        scale=scale,
    )
