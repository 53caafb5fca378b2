"""Attention whole: to keys of a prefix that differ in no row, and to those that do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from negkernel.methods.generic.carrier import Carried, base_of, carried, differs, rule
from negkernel.ops.attention import attention as last_token
from negkernel.ops.attention.reference import weight_difference


@rule("scaled_dot_product_attention")
def attend(
    func: Any,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Any:
    """Scores move by ``dq k + (q + dq) dk``, weights as in :func:`.normalise.softmax`.

    The product of the moved weights with the values has the two terms of any product. One query
    whose own key alone differs takes the fused op.
    """
    if isinstance(attn_mask, Carried):
        if attn_mask.rows is not None:
            raise NotImplementedError("an attention mask that differs between rows")
        attn_mask = attn_mask.base
    own = [base_of(x) for x in (query, key, value)]
    mask = _additive(attn_mask, own[0], own[1].shape[-2], is_causal)
    base = func(*own, attn_mask=mask, **options)
    if not differs(query, key, value):
        return carried(base)
    scale = options.get("scale")
    scale = own[0].shape[-1] ** -0.5 if scale is None else scale
    fused = _fused(query, key, value, mask, scale)
    rows = _rows(query, key, value, mask, scale) if fused is None else fused
    return Carried(base, rows)


def _additive(mask: Tensor | None, query: Tensor, length: int, causal: bool) -> Tensor | None:
    """The mask as it is added to scores."""
    if causal:
        seen = torch.ones(query.shape[-2], length, dtype=torch.bool, device=query.device).tril()
        return torch.zeros_like(seen, dtype=query.dtype).masked_fill(~seen, -torch.inf)
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
    return mask.to(query.dtype)


def _rows(query: Any, key: Any, value: Any, mask: Tensor | None, scale: float) -> Tensor:
    q, k, v = (base_of(x) for x in (query, key, value))
    B, Hq, n, D = q.shape
    Hk = k.shape[1]
    grouped = (B, Hk, Hq // Hk, n)
    q = q.reshape(*grouped, D)
    score = scale * torch.einsum("bhgnd,bhsd->bhgns", q, k)
    if mask is not None:
        score = score + (mask.unsqueeze(2) if mask.dim() == 4 else mask)
    change: Any = torch.zeros((), dtype=q.dtype, device=q.device)
    after: Tensor = q.unsqueeze(0)
    if differs(query):
        dq = query.dense().reshape(-1, *grouped, D)
        change = torch.einsum("rbhgnd,bhsd->rbhgns", dq, k)
        after = after + dq
    if differs(key):
        moved = torch.einsum(
            "rbhgnd,rbhtd->rbhgnt", after.expand(len(key.rows), *q.shape), key.rows
        )
        if change.dim() == 0:
            change = q.new_zeros(*moved.shape[:-1], k.shape[-2])
        change[..., key.lead :] += moved
    change = torch.where(torch.isneginf(score), 0, scale * change)
    weight = score.softmax(-1)
    change = change.expand(-1 if change.dim() else len(value.rows), *score.shape)
    dweight = weight_difference(score, weight, change)
    out = torch.einsum("rbhgns,bhsd->rbhgnd", dweight, v)
    if differs(value):
        own = (weight + dweight)[..., value.lead :]
        out = out + torch.einsum("rbhgnt,rbhtd->rbhgnd", own, value.rows)
    return out.reshape(-1, B, Hq, n, v.shape[-1])


def _fused(query: Any, key: Any, value: Any, mask: Tensor | None, scale: float) -> Tensor | None:
    """The last token's attention by the engine's own op, None where it does not apply."""
    if not all(isinstance(x, Carried) and x.rows is not None for x in (query, key, value)):
        return None
    q, k, v = query.base, key.base, value.base
    lead = k.shape[-2] - 1
    if q.shape[0] != 1 or q.shape[2] != 1 or v.shape[-1] != q.shape[-1] or lead == 0:
        return None
    if (key.lead, value.lead) != (lead, lead):
        return None
    seen = slice(0, lead)
    if mask is not None:
        hidden = mask.reshape(-1, lead + 1)
        if len(hidden) != 1 or not bool(((hidden == 0) | hidden.isneginf()).all()) or hidden[0, -1]:
            return None
        seen = torch.nonzero(hidden[0, :-1] == 0)[:, 0]  # type: ignore[assignment]

    def prefix(x: Tensor) -> Tensor:
        return x[0, :, :-1].transpose(0, 1)[seen].contiguous()

    def own(x: Tensor) -> Tensor:
        return x[0, :, -1:].transpose(0, 1).contiguous()

    dq, dk, dv = (x.rows[:, 0, :, 0].contiguous() for x in (query, key, value))
    keys = prefix(k)
    out = last_token(
        q[0, :, 0].unsqueeze(0).contiguous(),
        own(k),
        own(v),
        dq,
        dk,
        dv,
        keys,
        prefix(v),
        torch.tensor([0, len(keys)], device=q.device),
        torch.zeros(len(dq), dtype=torch.int64, device=q.device),
        scale=scale,
    )
    return out.unsqueeze(1).unsqueeze(3)
