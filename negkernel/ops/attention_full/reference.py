"""Delta attention of several positions in plain torch."""

import torch


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


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
) -> torch.Tensor:
    """Return the difference of the outputs; see `negkernel.ops.attention_full.attention_full`."""
    (Q, R, _, D), (S, Hkv, _), C = dq.shape, k.shape, len(dk)
    G, M = q.shape[1] // Hkv, S - C
    # The queries of a key's group stand one after the other, [Hkv, G * Q, D]. With G = 1 all of
    # this are views, and so is joining R and Hkv to the batch of a product.
    base_q = q.view(Q, Hkv, G, D).permute(1, 2, 0, 3).reshape(Hkv, G * Q, D)
    base_k, base_v = k.transpose(0, 1), v.transpose(0, 1)
    row_dq = dq.view(Q, R, Hkv, G, D).permute(1, 2, 3, 0, 4).reshape(R, Hkv, G * Q, D)
    row_dk, row_dv = (t.permute(1, 2, 0, 3) for t in (dk, dv))  # [R, Hkv, C, D]
    score = scale * (base_q @ base_k.mT)
    own = _bmm(row_dq, (row_dk + base_k[:, M:]).mT)
    own.baddbmm_(base_q.repeat(R, 1, 1), row_dk.flatten(0, 1).mT, beta=scale, alpha=scale)
    dscore = own.view(R, Hkv, G * Q, C)
    if M:
        rest = scale * (_by_head(row_dq) @ base_k[:, :M].mT)
        dscore = torch.cat([rest.view(Hkv, R, G * Q, M).transpose(0, 1), dscore], -1)
    if softcap is not None:
        before, after = torch.tanh(score / softcap), torch.tanh((score + dscore) / softcap)
        dscore = softcap * torch.tanh(dscore / softcap) * (1 - before * after)
        score = softcap * before
    if mask is not None:  # a hidden key's difference may be large enough to overflow
        hidden = ~mask.repeat(G, 1)
        score, dscore = score.masked_fill(hidden, -torch.inf), dscore.masked_fill_(hidden, 0.0)
    weight = score.softmax(-1)
    dweight = weight_difference(score, weight, dscore)
    out = _bmm(dweight[..., M:], row_dv + base_v[:, M:])
    out.baddbmm_(weight[..., M:].repeat(R, 1, 1), row_dv.flatten(0, 1))
    out = out.view(R, Hkv, G * Q, D)
    if M:
        out += (_by_head(dweight[..., :M]) @ base_v[:, :M]).view(Hkv, R, G * Q, D).transpose(0, 1)
    return out.view(R, Hkv, G, Q, D).permute(3, 0, 1, 2, 4).reshape(dq.shape)


def _bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b [R * heads, n, m] for [R, heads, n, k] and [R, heads, k, m]."""
    return torch.bmm(a.flatten(0, 1), b.flatten(0, 1))


def _by_head(a: torch.Tensor) -> torch.Tensor:
    """Return [heads, R * n, k] of [R, heads, n, k]: one product for all rows of what they share."""
    return a.transpose(0, 1).reshape(a.shape[1], -1, a.shape[-1])


def weight_difference(
    score: torch.Tensor, weight: torch.Tensor, dscore: torch.Tensor
) -> torch.Tensor:
    """Return softmax(score + dscore) - weight for weight = softmax(score); overwrites nothing."""
    e = torch.expm1(dscore)
    E = (weight * e).sum(-1, keepdim=True)
    small = E.abs() <= 0.5  # an E that is not a number fails the comparison
    if bool(small.all()):
        return e.sub_(E).mul_(weight).div_(1 + E)
    # Where the mass moves, 1 + E cancels or overflows; there the plain difference has no digits to
    # lose. A hidden key's score is -inf, and stays so.
    moved = (score + dscore).softmax(-1) - weight
    return torch.where(small, weight * (e - E) / (1 + E), moved)
