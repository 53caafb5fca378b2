"""Delta log-prob in plain torch, one tile of the vocabulary at a time."""

import torch

from negkernel.ops.logprob.tiles import Head, logit_tiles


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


def logprob(
    dn: torch.Tensor,
    weight: Head,
    base_logprob: torch.Tensor,
    targets: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    tile: int = 4096,
    softcap: float | None = None,
    base_logits: torch.Tensor | None = None,
    scale: float = 1.0,
) -> torch.Tensor:
    """Return d log p of the targets; see `negkernel.ops.logprob.logprob`."""
    R, V = dn.shape[0], base_logprob.shape[1]
    row_target = targets[row_prompt]
    dz_target = dn.new_zeros(row_target.shape)
    E = dn.new_zeros(R)
    log_Z = dn.new_full((R,), -torch.inf)
    for rows, vocabulary, dz in logit_tiles(
        dn,
        weight,
        row_prompt,
        V,
        tile=tile,
        softcap=softcap,
        base_logits=base_logits,
        scale=scale,
    ):
        logp = base_logprob[:, vocabulary][row_prompt[rows]]
        E[rows] += (logp.exp() * torch.expm1(dz)).sum(1)
        log_Z[rows] = torch.logaddexp(log_Z[rows], torch.logsumexp(logp + dz, 1))
        column = row_target[rows] - vocabulary.start
        inside = (column >= 0) & (column < dz.shape[1])
        value = dz.gather(1, column.clamp(0, dz.shape[1] - 1))
        dz_target[rows] = torch.where(inside, value, dz_target[rows])
    # Where much mass moves, 1 + E cancels or overflows; log Z does neither, but has no digits left
    # for small changes. An E that is not a number fails the comparison.
    return dz_target - torch.where(E.abs() <= 0.5, torch.log1p(E), log_Z)[:, None]
