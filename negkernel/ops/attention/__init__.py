"""Delta attention of the last token over its prompt's shared prefix keys and values."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.attention import cpp, cuda, reference, triton
from negkernel.ops.contract import check_floats, check_index, check_shape

BACKENDS = {"triton": triton, "cpp": cpp, "cuda": cuda, "reference": reference}


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
    impl: str = "auto",
) -> torch.Tensor:
    """Return the difference of the last token's attention output.

    Score differences are dq.k_j for prefix token j and dq.k + (q + dq).dk for the token itself.
    With base weights p, e_j = expm1(scale * dS_j) and E = sum_j p_j e_j, the weights change by
    p_j (e_j - E) / (1 + E), and do = sum_j dp_j v_j + (p_self + dp_self) dv. Where |E| > 0.5 the
    shifted weights come from a softmax with a running maximum instead.

    Parameters
    ----------
    q, k, v : torch.Tensor
        Base query, key and value of the last token, [P, Hq, D] and twice [P, Hkv, D]; qk-norm and
        RoPE are applied. Query head h reads key head h // (Hq / Hkv).
    dq, dk, dv : torch.Tensor
        Their differences, [R, Hq, D] and twice [R, Hkv, D].
    prefix_k, prefix_v : torch.Tensor
        Keys and values of the earlier tokens of all prompts, packed, [T, Hkv, D].
    prefix_start : torch.Tensor
        Prompt p owns prefix tokens prefix_start[p] to prefix_start[p + 1], possibly none,
        [P + 1] int64.
    row_prompt : torch.Tensor
        Prompt of each row, sorted, [R] int64.
    scale : float
        Factor of the scores, usually 1/sqrt(D).
    softcap : float, optional
        Scores become softcap * tanh(score / softcap), as in Gemma 2.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        do, [R, Hq, D].
    """
    check_floats(
        "attention", q=q, k=k, v=v, dq=dq, dk=dk, dv=dv, prefix_k=prefix_k, prefix_v=prefix_v
    )
    P, Hkv, D = k.shape
    R, Hq, _ = dq.shape
    if Hq % Hkv:
        raise ValueError(f"attention: {Hq} query heads are no multiple of {Hkv} key heads")
    check_shape("attention", "q", q, P, Hq, D)
    check_shape("attention", "v", v, P, Hkv, D)
    check_shape("attention", "dq", dq, R, Hq, D)
    check_shape("attention", "dk", dk, R, Hkv, D)
    check_shape("attention", "dv", dv, R, Hkv, D)
    check_shape("attention", "prefix_k", prefix_k, prefix_k.shape[0], Hkv, D)
    check_shape("attention", "prefix_v", prefix_v, prefix_k.shape[0], Hkv, D)
    check_index("attention", "prefix_start", prefix_start, P + 1)
    check_index("attention", "row_prompt", row_prompt, R)
    return dispatch.call(
        "attention",
        BACKENDS,
        impl,
        q,
        k,
        v,
        dq,
        dk,
        dv,
        prefix_k,
        prefix_v,
        prefix_start,
        row_prompt,
        scale=scale,
        softcap=softcap,
    )
