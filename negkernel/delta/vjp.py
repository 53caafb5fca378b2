"""Take gradients back through norms and attentions.

Rows are (prompt, label) pairs sorted by prompt, a few per prompt, so these run as plain tensor
code: their cost is a few percent of the matrix products around them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.families.parts import Norm


def through_norm(spec: Norm | None, x: Tensor | None, g: Tensor, index: Tensor) -> Tensor:
    """Take gradients back through a norm, in the shape it saw; unchanged where there is none."""
    if spec is None or x is None:
        return g
    g = g.view(len(g), *x.shape[1:])
    return norm_vjp(x, g, index, weight=spec.gain(), eps=spec.eps, kind=spec.kind)


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
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    length: Tensor,
    g: Tensor,
    *,
    scale: float,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in the last token's query, key and value; those of earlier tokens are constant.

    Parameters
    ----------
    query : Tensor [P, Hq, D]
        Rotated to its position.
    keys, values : Tensor [P, S, Hkv, D]
        What each prompt's last token sees, itself at ``length - 1``, then filling.
    length : Tensor [P] int64
    g : Tensor [P, K, Hq, D]
        Gradient in the heads' outputs.

    Returns
    -------
    g_query [P * K, Hq, D], g_key [P * K, Hkv, D], g_value [P * K, Hkv, D]
        In the frame of ``query`` and ``keys``.
    """
    P, K, Hq, D = g.shape
    S, Hkv = keys.shape[1:3]
    G = Hq // Hkv
    query = query.view(P, Hkv, G, D)
    keys, values = keys.transpose(1, 2), values.transpose(1, 2)
    score = scale * (query @ keys.transpose(-1, -2))  # [P, Hkv, G, S]
    score, slope = _capped(score, scale, softcap)
    filling = torch.arange(S, device=g.device) >= length[:, None]
    weight = score.masked_fill(filling[:, None, None, :], float("-inf")).softmax(-1)

    rows = g.view(P, K, Hkv, G, D).transpose(1, 2)  # [P, Hkv, K, G, D]
    g_weight = (rows.reshape(P, Hkv, K * G, D) @ values.transpose(-1, -2)).view(P, Hkv, K, G, S)
    spread = weight.unsqueeze(2)
    g_score = spread * (g_weight - (spread * g_weight).sum(-1, keepdim=True)) * slope
    g_query = (g_score.view(P, Hkv, K * G, S) @ keys).view(P, Hkv, K, G, D)

    prompt = torch.arange(P, device=g.device)
    g_key = torch.einsum("phkg,phgd->pkhd", g_score[prompt, ..., length - 1], query)
    g_value = torch.einsum("phg,phkgd->pkhd", weight[prompt, ..., length - 1], rows)
    return (
        g_query.transpose(1, 2).reshape(P * K, Hq, D),
        g_key.reshape(P * K, Hkv, D),
        g_value.reshape(P * K, Hkv, D),
    )


def _capped(score: Tensor, scale: float, softcap: float | None) -> tuple[Tensor, Tensor]:
    """Scores [a, b, ...] as the softmax reads them, and their slope in the product [a, b, 1, ...].

    ``score`` has been multiplied by ``scale``; without a cap the slope is ``scale`` everywhere.
    """
    if softcap is None:
        return score, score.new_full((), scale)
    score = torch.tanh(score / softcap)
    return softcap * score, (scale * (1 - score.square())).unsqueeze(2)


def positions_vjp(
    query: Tensor,
    seen: tuple[Tensor, Tensor],
    changed: int,
    g: Tensor,
    *,
    scale: float,
    softcap: float | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in queries, and in the last keys and values that they see, of one prompt.

    Parameters
    ----------
    query : Tensor [Q, Hq, D]
        Base queries of the positions whose outputs have a gradient.
    seen : Tensor [S, Hkv, D], Tensor [S, Hkv, D]
        Keys and values.
    changed : int
        How many of them, the last C, the gradient is wanted in.
    g : Tensor [Q, R, Hq, D]
        Gradient in the heads' outputs.
    mask : Tensor [Q, S] bool, optional
        True where a query sees a key.

    Returns
    -------
    g_query [Q, R, Hq, D], g_key [C, R, Hkv, D], g_value [C, R, Hkv, D]
    """
    (Q, R, Hq, D), (S, Hkv, _) = g.shape, seen[0].shape
    G = Hq // Hkv
    keys, values = (x.transpose(0, 1) for x in seen)  # [Hkv, S, D]
    q = query.view(Q, Hkv, G, D).permute(1, 2, 0, 3).reshape(Hkv, G * Q, D)
    score, slope = _capped(scale * (q @ keys.mT), scale, softcap)
    if mask is not None:
        score = score.masked_fill(~mask.repeat(G, 1), -torch.inf)
    weight = score.softmax(-1)
    slope = slope.squeeze(2) if slope.dim() else slope
    rows = g.view(Q, R, Hkv, G, D).permute(1, 2, 3, 0, 4).reshape(R, Hkv, G * Q, D)
    g_weight = rows @ values.mT
    mean = (weight * g_weight).sum(-1, keepdim=True)
    g_score = g_weight.sub_(mean).mul_(weight).mul_(slope)
    g_query = (g_score @ keys).view(R, Hkv, G, Q, D).permute(3, 0, 1, 2, 4)
    g_key = (g_score[..., S - changed :].mT @ q).permute(2, 0, 1, 3)
    g_value = (weight[..., S - changed :].mT @ rows).permute(2, 0, 1, 3)
    return g_query.reshape(g.shape), g_key, g_value


def shared_attention_vjp(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    prefix: tuple[Tensor, Tensor],
    g: Tensor,
    *,
    scale: float,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`attention_vjp` of rows that share a prefix, which is read once and never copied.

    Parameters
    ----------
    query : Tensor [R, Hq, D]
        Rotated to its position.
    own : Tensor [R, Hkv, D], Tensor [R, Hkv, D]
        Each row's key and value.
    prefix : Tensor [S, Hkv, D], Tensor [S, Hkv, D]
        Keys and values that all rows see beside their own.
    g : Tensor [R, K, Hq, D]
        Gradient in the heads' outputs.

    Returns
    -------
    g_query [R * K, Hq, D], g_key [R * K, Hkv, D], g_value [R * K, Hkv, D]
        In the frame of ``query`` and the keys.
    """
    R, K, Hq, D = g.shape
    S, Hkv, _ = prefix[0].shape
    G = Hq // Hkv
    keys, values = (x.transpose(0, 1) for x in prefix)  # [Hkv, S, D]
    key, value = (x.transpose(0, 1) for x in own)  # [Hkv, R, D]
    q = query.view(R, Hkv, G, D).transpose(0, 1).contiguous()  # [Hkv, R, G, D]
    seen = (q.view(Hkv, R * G, D) @ keys.transpose(1, 2)).view(Hkv, R, G, S)
    score = scale * torch.cat([seen, (q * key.unsqueeze(2)).sum(-1, keepdim=True)], -1)
    score, slope = _capped(score, scale, softcap)
    weight = score.softmax(-1).unsqueeze(2)  # [Hkv, R, 1, G, S + 1]

    rows = g.view(R, K, Hkv, G, D).permute(2, 0, 1, 3, 4).contiguous()  # [Hkv, R, K, G, D]
    seen = (rows.view(Hkv, R * K * G, D) @ values.transpose(1, 2)).view(Hkv, R, K, G, S)
    itself = (rows * value[:, :, None, None]).sum(-1, keepdim=True)
    g_weight = torch.cat([seen, itself], -1)
    g_score = weight * (g_weight - (weight * g_weight).sum(-1, keepdim=True)) * slope
    g_seen, g_itself = g_score[..., :S], g_score[..., S:]
    g_query = (g_seen.reshape(Hkv, R * K * G, S) @ keys).view(rows.shape)
    g_query += g_itself * key[:, :, None, None]
    g_key = (g_itself * q.unsqueeze(2)).sum(3)  # [Hkv, R, K, D]
    g_value = (weight[..., S:] * rows).sum(3)
    return (
        g_query.permute(1, 2, 0, 3, 4).reshape(R * K, Hq, D),
        g_key.permute(1, 2, 0, 3).reshape(R * K, Hkv, D),
        g_value.permute(1, 2, 0, 3).reshape(R * K, Hkv, D),
    )
