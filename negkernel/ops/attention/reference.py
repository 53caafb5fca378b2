"""Delta attention of the last token in plain torch, one prompt at a time."""

import torch


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


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
) -> torch.Tensor:
    """Return the difference of the heads' outputs; see `negkernel.ops.attention.attention`."""
    do = torch.empty_like(dq, memory_format=torch.contiguous_format)
    P, Hkv, D = k.shape
    G = q.shape[1] // Hkv
    starts = prefix_start.tolist()
    rows = torch.searchsorted(row_prompt, torch.arange(P + 1, device=row_prompt.device)).tolist()
    for p in range(P):
        r = slice(rows[p], rows[p + 1])
        if r.start == r.stop:
            continue
        keys = torch.cat([prefix_k[starts[p] : starts[p + 1]], k[p : p + 1]])
        values = torch.cat([prefix_v[starts[p] : starts[p + 1]], v[p : p + 1]])
        base_q = q[p].view(Hkv, G, D)
        row_dq = dq[r].reshape(-1, Hkv, G, D)

        score = scale * torch.einsum("hgd,shd->hgs", base_q, keys)
        dscore = torch.einsum("rhgd,shd->rhgs", row_dq, keys)
        dscore[..., -1] += torch.einsum("rhgd,rhd->rhg", base_q + row_dq, dk[r])
        dscore *= scale
        if softcap is not None:
            before, after = torch.tanh(score / softcap), torch.tanh((score + dscore) / softcap)
            dscore = softcap * torch.tanh(dscore / softcap) * (1 - before * after)
            score = softcap * before

        weight = score.softmax(-1)
        dweight = weight_difference(score, weight, dscore)
        do_p = torch.einsum("rhgs,shd->rhgd", dweight, values)
        do_p += (weight + dweight)[..., -1:] * dv[r].unsqueeze(2)
        do[r] = do_p.reshape(-1, Hkv * G, D)
    return do


def weight_difference(
    score: torch.Tensor, weight: torch.Tensor, dscore: torch.Tensor
) -> torch.Tensor:
    """Return softmax(score + dscore) - weight for weight = softmax(score)."""
    e = torch.expm1(dscore)
    E = (weight * e).sum(-1, keepdim=True)
    small = weight * (e - E) / (1 + E)
    # Where the mass moves, 1 + E cancels or overflows; there the plain difference has no digits to
    # lose. An E that is not a number fails the comparison and goes the same way.
    return torch.where(E.abs() <= 0.5, small, (score + dscore).softmax(-1) - weight)
