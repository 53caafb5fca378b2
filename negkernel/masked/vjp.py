"""Backward twin of bidirectional attention, for rows of (prompt, label) pairs."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_vjp(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    row_prompt: Tensor,
    *,
    scale: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in queries, keys and values.

    Parameters
    ----------
    q : Tensor [Q, P, heads, D]
        Base queries of the positions whose outputs have a gradient.
    k, v : Tensor [S, P, heads, D]
    g : Tensor [Q, R, heads, D]
        Gradient in the heads' outputs.
    mask : Tensor [P, Q, S] bool, optional
        True where a query sees a key.

    Returns
    -------
    g_q [Q, R, heads, D], g_k [S, R, heads, D], g_v [S, R, heads, D]
    """
    (Q, P, heads, D), S, R = q.shape, k.shape[0], g.shape[1]
    g_q = g.new_empty(Q, R, heads, D)
    g_k, g_v = g.new_empty(S, R, heads, D), g.new_empty(S, R, heads, D)
    rows = torch.searchsorted(row_prompt, torch.arange(P + 1, device=row_prompt.device)).tolist()
    for p in range(P):
        r = slice(rows[p], rows[p + 1])
        query, key, value = (t[:, p].transpose(0, 1) for t in (q, k, v))  # [heads, S, D]
        score = scale * (query @ key.mT)
        if mask is not None:
            score = score.masked_fill(~mask[p], -torch.inf)
        weight = score.softmax(-1)
        g_out = g[:, r].permute(1, 2, 0, 3)  # [R, heads, Q, D]
        g_weight = g_out @ value.mT
        mean = (weight * g_weight).sum(-1, keepdim=True)
        g_score = g_weight.sub_(mean).mul_(weight).mul_(scale)
        g_q[:, r] = (g_score @ key).permute(2, 0, 1, 3)
        g_k[:, r] = (g_score.mT @ query).permute(2, 0, 1, 3)
        g_v[:, r] = (weight.mT @ g_out).permute(2, 0, 1, 3)
    return g_q, g_k, g_v
