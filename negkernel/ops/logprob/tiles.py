"""Logit differences one tile of the vocabulary at a time, so that no [R, V] tensor exists."""

from collections.abc import Callable, Iterator

import torch

from negkernel.ops.linear import linear

Head = torch.Tensor | Callable[[int, int], torch.Tensor]

# Rows are taken in blocks so that a tile of logit differences stays near the caches and the scratch
# does not grow with R. On a CPU 768 x 4,096 floats also stay below what the allocator would hand
# back to the system after every tile.
ROWS = {"cpu": 768, "cuda": 4096}


# How far apart the two ways to the total may be where both are sound: rounding of a sum over the
# vocabulary, and far below what a wrong one is off by.
AGREEMENT = 1e-3


def log_total(E: torch.Tensor, log_Z: torch.Tensor) -> torch.Tensor:
    """Return ``log sum p exp(dz)`` of each row, from the sum that has its digits.

    ``log1p(E)`` keeps small changes, ``log_Z`` is right for all. E is not where much mass moves
    and 1 + E cancels, nor where its kernel had to clamp an exponential of a token whose p
    underflows; one that is not a number fails the comparison too.
    """
    fine = torch.log1p(E)
    sound = (E.abs() <= 0.5) & ((fine - log_Z).abs() <= AGREEMENT)
    return torch.where(sound, fine, log_Z)


def logit_tiles(
    dn: torch.Tensor,
    weight: Head,
    row_prompt: torch.Tensor,
    V: int,
    *,
    tile: int,
    softcap: float | None,
    base_logits: torch.Tensor | None,
    scale: float,
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Yield (rows, vocabulary, differences of the final logits) over all tiles.

    Parameters
    ----------
    dn : torch.Tensor
        Difference of the head's input, [R, H].
    weight : torch.Tensor or callable
        LM-head weight [V, H], or `weight(start, stop)` that returns its rows. `dn` is rounded to
        its dtype.
    row_prompt : torch.Tensor
        Prompt of each row, [R] int64.
    V : int
        Size of the vocabulary.
    tile : int
        Vocabulary entries a tile.
    softcap, base_logits, scale
        As in `negkernel.ops.logprob.logprob`.

    Yields
    ------
    tuple of slice, slice, torch.Tensor
        The tensor, [rows, vocabulary], is the caller's to overwrite.
    """
    R, most = dn.shape[0], ROWS[dn.device.type]
    for start in range(0, V, tile):
        vocabulary = slice(start, min(start + tile, V))
        head = weight(start, vocabulary.stop) if callable(weight) else weight[vocabulary]
        for first in range(0, R, most):
            rows = slice(first, min(first + most, R))
            dz = linear(dn[rows], head, operand=head.dtype)
            if scale != 1.0:
                dz *= scale
            if softcap is not None:
                assert base_logits is not None
                base = base_logits[:, vocabulary] * (scale / softcap)
                before = base.tanh()[row_prompt[rows]]
                after = torch.tanh(base[row_prompt[rows]] + dz / softcap)
                dz.div_(softcap).tanh_().mul_(1 - before * after).mul_(softcap)
            yield rows, vocabulary, dz
