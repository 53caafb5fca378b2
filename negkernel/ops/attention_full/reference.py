"""Delta attention of a whole prompt in plain torch, one prompt at a time."""

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
    row_prompt: torch.Tensor,
    *,
    scale: float,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the difference of the outputs; see `negkernel.ops.attention_full.attention_full`."""
    do = torch.empty_like(dq, memory_format=torch.contiguous_format)
    P = q.shape[1]
    rows = torch.searchsorted(row_prompt, torch.arange(P + 1, device=row_prompt.device)).tolist()
    for p in range(P):
        r = slice(rows[p], rows[p + 1])
        if r.start == r.stop:
            continue
        # [S, heads, D] -> [heads, S, D] and [S, R, heads, D] -> [R, heads, S, D]: views, and so is
        # joining R and heads to the batch of a product, which reads the rows where they lie.
        base_q, base_k, base_v = (t[:, p].transpose(0, 1) for t in (q, k, v))
        row_dq, row_dk, row_dv = (t[:, r].permute(1, 2, 0, 3) for t in (dq, dk, dv))
        score = scale * (base_q @ base_k.mT)
        if mask is not None:
            score = score.masked_fill(~mask[p], -torch.inf)
        weight = score.softmax(-1)
        R = r.stop - r.start
        dscore = _bmm(row_dq, (row_dk + base_k).mT)
        dscore.baddbmm_(base_q.repeat(R, 1, 1), row_dk.flatten(0, 1).mT, beta=scale, alpha=scale)
        if mask is not None:  # a hidden key's difference may be large enough to overflow
            dscore.view(R, *score.shape).masked_fill_(~mask[p], 0.0)
        dweight = weight_difference(score, weight, dscore.view(R, *score.shape))
        out = _bmm(dweight, row_dv + base_v)
        out.baddbmm_(weight.repeat(R, 1, 1), row_dv.flatten(0, 1))
        do[:, r] = out.view(R, -1, *out.shape[1:]).permute(2, 0, 1, 3)
    return do


def _bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b [R * heads, n, m] for [R, heads, n, k] and [R, heads, k, m]."""
    return torch.bmm(a.flatten(0, 1), b.flatten(0, 1))


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
