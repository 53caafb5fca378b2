"""Backward twins of the norm and attention ops, for gradients at the last token.

Rows are (prompt, label) pairs sorted by prompt, a few per prompt, so these run as plain tensor
code: their cost is a few percent of the matrix products around them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def norm_vjp(
    x: Tensor, g: Tensor, row_prompt: Tensor, *, weight: Tensor | None, eps: float, kind: str
) -> Tensor:
    """Gradient in the input of a norm over the last axis.

    Parameters
    ----------
    x : Tensor [P, ..., H]
        Input of the norm.
    g : Tensor [R, ..., H]
        Gradient in its output.
    kind : {"rms", "layer"}

    Returns
    -------
    Tensor [R, ..., H]
        For y = w x s with s = (mean(x^2) + eps)^(-1/2): s (w g - x s^2 mean(x w g)).
    """
    if kind == "layer":
        x = x - x.mean(-1, keepdim=True)
    s = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    x_unit = (x * s)[row_prompt]
    g = g if weight is None else g * weight
    out = g - x_unit * (x_unit * g).mean(-1, keepdim=True)
    if kind == "layer":  # centring is its own transpose
        out = out - g.mean(-1, keepdim=True)
    return out * s[row_prompt]


def attention_vjp(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    prefix_start: Tensor,
    g: Tensor,
    row_prompt: Tensor,
    *,
    scale: float,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in the last token's query, key and value; the prefix is constant.

    Parameters
    ----------
    q : Tensor [P, Hq, D]
    k, v : Tensor [P, Hkv, D]
    prefix_k, prefix_v : Tensor [T, Hkv, D]
        Packed; prompt p owns ``prefix_start[p]:prefix_start[p + 1]``.
    g : Tensor [R, Hq, D]
        Gradient in the heads' outputs.

    Returns
    -------
    g_q [R, Hq, D], g_k [R, Hkv, D], g_v [R, Hkv, D]
    """
    R, Hq, D = g.shape
    P, Hkv, _ = k.shape
    g_q = g.new_empty(R, Hkv, Hq // Hkv, D)
    g_k, g_v = g.new_empty(R, Hkv, D), g.new_empty(R, Hkv, D)
    g, q = g.view(R, Hkv, -1, D), q.view(P, Hkv, -1, D)
    starts = prefix_start.tolist()
    rows = torch.searchsorted(row_prompt, torch.arange(P + 1, device=row_prompt.device)).tolist()
    for p in range(P):
        r = slice(rows[p], rows[p + 1])
        keys = torch.cat([prefix_k[starts[p] : starts[p + 1]], k[p : p + 1]])
        values = torch.cat([prefix_v[starts[p] : starts[p + 1]], v[p : p + 1]])
        score = scale * torch.einsum("hgd,shd->hgs", q[p], keys)
        slope = torch.full_like(score, scale)
        if softcap is not None:
            score = torch.tanh(score / softcap)
            slope = scale * (1 - score.square())
            score = softcap * score
        weight = score.softmax(-1)
        g_weight = torch.einsum("rhgd,shd->rhgs", g[r], values)
        g_score = weight * (g_weight - (weight * g_weight).sum(-1, keepdim=True)) * slope
        g_q[r] = torch.einsum("rhgs,shd->rhgd", g_score, keys)
        g_k[r] = torch.einsum("rhg,hgd->rhd", g_score[..., -1], q[p])
        g_v[r] = torch.einsum("hg,rhgd->rhd", weight[..., -1], g[r])
    return g_q.view(R, Hq, D), g_k, g_v
