"""Delta norm: what RMSNorm or LayerNorm makes of a difference, fused with the residual add."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.contract import check_floats, check_index, check_shape
from negkernel.ops.norm import cpp, reference, triton

BACKENDS = {"triton": triton, "cpp": cpp, "reference": reference}


def norm(
    x: torch.Tensor,
    d: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    weight: torch.Tensor | None,
    eps: float,
    kind: str = "rms",
    branch: torch.Tensor | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Return norm(x + d) - norm(x), row by row, without subtracting two outputs.

    With m = mean(x^2) + eps and s = 1/sqrt(m) before (0) and after (1) the shift, the difference is
    (d*s1 + x*(s1 - s0)) * weight, where s1 - s0 = -(m1 - m0) * s0^2 * s1^2 / (s0 + s1) and
    m1 - m0 = mean(2xd + d^2). LayerNorm is the same with x and d centred first; its bias cancels.

    Parameters
    ----------
    x : torch.Tensor
        Base input of the norm, [P, H], or [P, heads, D] for a norm per attention head.
    d : torch.Tensor
        Its difference, [R, H] or [R, heads, D]. Updated in place where `branch` is given.
    row_prompt : torch.Tensor
        Prompt of each row, [R] int64.
    weight : torch.Tensor or None
        Full multiplicative gain of the last dimension, [H] or [D].
    eps : float
        Added to the mean square.
    kind : {"rms", "layer"}
        RMSNorm or LayerNorm.
    branch : torch.Tensor, optional
        Added to `d` in place before the norm, same shape as `d`: the residual add.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        dn, same shape as `d`.
    """
    check_floats("norm", x=x, d=d, weight=weight, branch=branch)
    if kind not in ("rms", "layer"):
        raise ValueError(f"norm: kind is {kind!r}, expected rms or layer")
    check_shape("norm", "d", d, d.shape[0], *x.shape[1:])
    check_index("norm", "row_prompt", row_prompt, d.shape[0])
    if weight is not None:
        check_shape("norm", "weight", weight, d.shape[-1])
    if branch is not None:
        check_shape("norm", "branch", branch, *d.shape)
    return dispatch.call(
        "norm", BACKENDS, impl, x, d, row_prompt, weight=weight, eps=eps, kind=kind, branch=branch
    )
