"""Delta attention of one prompt where queries, keys and values of several positions may differ."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.attention_full import reference
from negkernel.ops.contract import check_floats, check_shape

BACKENDS = {"reference": reference}


def attention_full(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    *,
    scale: float,
    softcap: float | None = None,
    mask: torch.Tensor | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Return the difference of attention's output at the wanted positions of a prompt.

    Score differences are dS_ij = dq_i.(k_j + dk_j) + q_i.dk_j, for a key that does not change
    dq_i.k_j. With base weights p, e_ij = expm1(scale * dS_ij) and E_i = sum_j p_ij e_ij, the
    weights change by dp_ij = p_ij (e_ij - E_i) / (1 + E_i), and
    do_i = sum_j dp_ij (v_j + dv_j) + p_ij dv_j. Where |E| > 0.5 the shifted weights come from a
    softmax with a running maximum instead.

    Parameters
    ----------
    q : torch.Tensor
        Base queries of the Q wanted positions, [Q, Hq, D].
    k, v : torch.Tensor
        Base keys and values, [S, Hkv, D]: first the M = S - C that do not change, which all rows
        share. Query head h reads key head h // (Hq / Hkv).
    dq, dk, dv : torch.Tensor
        Differences, [Q, R, Hq, D] and twice [C, R, Hkv, D], those of the last C keys and values.
    scale : float
        Factor of the scores, usually 1/sqrt(D).
    softcap : float, optional
        Scores become softcap * tanh(score / softcap), as in Gemma 2.
    mask : torch.Tensor, optional
        True where a query sees a key, [Q, S] bool; every query sees at least one.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        do, [Q, R, Hq, D].
    """
    check_floats("attention_full", q=q, k=k, v=v, dq=dq, dk=dk, dv=dv)
    (Q, Hq, D), (S, Hkv, _), (C, R) = q.shape, k.shape, dk.shape[:2]
    if Hq % Hkv:
        raise ValueError(f"attention_full: {Hq} query heads are no multiple of {Hkv} key heads")
    check_shape("attention_full", "k", k, S, Hkv, D)
    check_shape("attention_full", "v", v, S, Hkv, D)
    check_shape("attention_full", "dq", dq, Q, R, Hq, D)
    check_shape("attention_full", "dk", dk, C, R, Hkv, D)
    check_shape("attention_full", "dv", dv, C, R, Hkv, D)
    if mask is not None:
        check_shape("attention_full", "mask", mask, Q, S)
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
        scale=scale,
        softcap=softcap,
        mask=mask,
    )
