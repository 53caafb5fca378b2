"""More to read off a shifted forward than log p of its targets, from the same head pass.

A row's readings stand side by side, [2 K + 2]: the K changes of log p, the KL divergence of the
shifted from the base distribution, the K ranks of the targets (how many tokens are likelier), and
1 where the likeliest token is another one than without the shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from negkernel.arguments import shown
from negkernel.ops.logprob.tiles import Head, logit_tiles

METRICS = ("logprob", "logit_diff", "kl", "rank")


def check_metrics(metrics: Sequence[str], n_targets: int, resolution: str) -> tuple[str, ...]:
    """Return ``metrics`` if they can be read, with "logprob" among them: it is always read.

    Raises
    ------
    ValueError
        Unknown names, a logit difference without two targets, or a resolution that interpolates.
    """
    listed = isinstance(metrics, list | tuple | set | frozenset)
    if not listed or not all(isinstance(name, str) and name in METRICS for name in metrics):
        raise ValueError(
            f"metrics is {shown(metrics)}; expected any of {', '.join(map(repr, METRICS))}, in a "
            "list"
        )
    if "logit_diff" in metrics and n_targets != 2:
        raise ValueError(
            f"the logit difference is that of two targets, got {n_targets} a prompt; pass targets "
            "as [[correct, wrong], ...]"
        )
    if resolution != "grid" and {"kl", "rank"} & set(metrics):
        raise ValueError(f"resolution {resolution!r} does not read KL or rank; pass 'grid'")
    return ("logprob", *(name for name in metrics if name != "logprob"))


def from_logprobs(logprob: Tensor, base: Tensor, targets: Tensor) -> Tensor:
    """Readings [R, 2 K + 2] of whole distributions [R, V] against the base's [V]."""
    own = logprob[:, targets]
    kl = (base.exp() * (base - logprob)).sum(1, keepdim=True)
    rank = torch.stack([(logprob > one[:, None]).sum(1) for one in own.unbind(1)], dim=1)
    flip = logprob.argmax(1, keepdim=True) != base.argmax()
    return torch.cat([own - base[targets], kl, rank.to(own), flip.to(own)], dim=1)


@dataclass(frozen=True)
class Base:
    """The distributions that rows are read against.

    Attributes
    ----------
    logprob : Tensor [P, V]
    targets : Tensor [P, K]
    picked : Tensor [P, K, H]
        Rows of the head that belong to the targets.
    centre : Tensor [P, H]
        Mean of the head's rows over p; exact but for rounding and a soft-cap.
    """

    logprob: Tensor
    targets: Tensor
    picked: Tensor
    centre: Tensor


def from_differences(
    dn: Tensor,
    head: Head,
    base: Base,
    row_prompt: Tensor,
    *,
    scale: float = 1.0,
    softcap: float | None = None,
    base_logits: Tensor | None = None,
) -> Tensor:
    """Readings [R, 2 K + 2] of differences [R, H] of the head's input.

    ``KL = log sum p e^x - sum p x`` for logit changes x, which cancels to second order: with x
    taken about its mean m over p, it is ``log1p(E + S) - S`` with ``E = sum p (e^x - 1 - x)`` a
    sum of positive terms and S what is left of the mean.

    Parameters
    ----------
    base : Base
        Its centre gives m.
    head, row_prompt, scale, softcap, base_logits
        As in :func:`negkernel.ops.logprob.logprob`.
    """
    R, V = len(dn), base.logprob.shape[1]
    targets, base_logprob = base.targets, base.logprob
    options: dict[str, Any] = {"scale": scale, "softcap": softcap, "base_logits": base_logits}
    dz_own = scale * torch.einsum("rh,rkh->rk", dn, base.picked[row_prompt])
    if softcap is not None and base_logits is not None:
        before = torch.tanh(base_logits.gather(1, targets) * (scale / softcap))[row_prompt]
        moved = torch.tanh(dz_own / softcap)
        # tanh(a + b) - tanh(a) from tanh(a) and tanh(b)
        dz_own = softcap * moved * (1 - before.square()) / (1 + before * moved)
    own = base_logprob.gather(1, targets)[row_prompt] + dz_own
    mean = scale * (dn * base.centre[row_prompt]).sum(1)
    E, S, mass = dn.new_zeros(R), dn.new_zeros(R), dn.new_full((R,), -torch.inf)
    rank = torch.zeros_like(own)
    best, top = dn.new_full((R,), -torch.inf), torch.zeros_like(row_prompt)
    for rows, vocabulary, dz in logit_tiles(dn, head, row_prompt, V, tile=4096, **options):
        logprob = base_logprob[:, vocabulary][row_prompt[rows]]
        p, x = logprob.exp(), dz - mean[rows, None]
        E[rows] += (p * _beyond_linear(x)).sum(1)
        S[rows] += (p * x).sum(1)
        shifted = logprob + dz
        mass[rows] = torch.logaddexp(mass[rows], torch.logsumexp(shifted, 1))
        token = torch.arange(vocabulary.start, vocabulary.stop, device=dn.device)
        for k, target in enumerate(targets[row_prompt[rows]].unbind(1)):
            likelier = (shifted > own[rows, k, None]) & (token != target[:, None])
            rank[rows, k] += likelier.sum(1)
        value, where = shifted.max(1)
        ahead = value > best[rows]
        top[rows] = torch.where(ahead, token[where], top[rows])
        best[rows] = torch.maximum(best[rows], value)
    small = (E + S).abs() <= 0.5  # false where the sum has overflowed
    kl = torch.where(small, torch.log1p(E + S) - S, mass - mean - S)
    flip = top != base_logprob.argmax(1)[row_prompt]
    change = dz_own - torch.where(small, torch.log1p(E + S) + mean, mass)[:, None]
    return torch.cat([change, kl[:, None], rank, flip[:, None].to(dn)], dim=1)


def _beyond_linear(x: Tensor) -> Tensor:
    """``exp(x) - 1 - x`` without cancellation."""
    series = x.square() * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x / 720))))
    return torch.where(x.abs() < 0.05, series, torch.expm1(x) - x)
