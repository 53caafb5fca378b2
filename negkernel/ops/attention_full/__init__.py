"""Delta attention of a whole prompt: queries, keys and values of all positions may differ."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.attention_full import reference
from negkernel.ops.contract import check_floats, check_index, check_shape

BACKENDS = {"reference": reference}


def attention_full(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    scale: float,
    mask: torch.Tensor | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Return the difference of bidirectional attention's output.

    Score differences are dS_ij = dq_i.(k_j + dk_j) + q_i.dk_j. With base weights p,
    e_ij = expm1(scale * dS_ij) and E_i = sum_j p_ij e_ij, the weights change by
    dp_ij = p_ij (e_ij - E_i) / (1 + E_i), and do_i = sum_j dp_ij (v_j + dv_j) + p_ij dv_j. Where
    |E| > 0.5 the shifted weights come from a softmax with a running maximum instead.

    Parameters
    ----------
    q : torch.Tensor
        Base queries, [Q, P, heads, D]: of all S positions, or of the Q wanted ones.
    k, v : torch.Tensor
        Base keys and values, [S, P, heads, D].
    dq, dk, dv : torch.Tensor
        Their differences, [Q, R, heads, D] and twice [S, R, heads, D].
    row_prompt : torch.Tensor
        Prompt of each row, sorted, [R] int64.
    scale : float
        Factor of the scores, usually 1/sqrt(D).
    mask : torch.Tensor, optional
        True where a query sees a key, [P, Q, S] bool; every query sees at least one.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        do, [Q, R, heads, D].
    """
    check_floats("attention_full", q=q, k=k, v=v, dq=dq, dk=dk, dv=dv)
    Q, P, heads, D = q.shape
    S, R = k.shape[0], row_prompt.shape[0]
    check_shape("attention_full", "k", k, S, P, heads, D)
    check_shape("attention_full", "v", v, S, P, heads, D)
    check_shape("attention_full", "dq", dq, Q, R, heads, D)
    check_shape("attention_full", "dk", dk, S, R, heads, D)
    check_shape("attention_full", "dv", dv, S, R, heads, D)
    check_index("attention_full", "row_prompt", row_prompt, R)
    if mask is not None:
        check_shape("attention_full", "mask", mask, P, Q, S)
    return dispatch.call(
        "attention_full",
        BACKENDS,
        impl,
        q,
        k,
        v,
        dq,
        dk,
        dv,
        row_prompt,
        scale=scale,
        mask=mask,
    )
