"""Logit differences one tile of the vocabulary at a time, so that no [R, V] tensor exists."""

from collections.abc import Callable, Iterator

import torch

Head = torch.Tensor | Callable[[int, int], torch.Tensor]

# Rows are taken in blocks so that a tile of logit differences stays near the caches and the scratch
# does not grow with R.
ROWS = 4096


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
        the dtype of a matrix.
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
        The tensor, [rows, vocabulary], is scratch that the next tile overwrites.
    """
    R = dn.shape[0]
    if not callable(weight):
        dn = dn.to(weight.dtype).to(dn.dtype)
    scratch = dn.new_empty(min(R, ROWS) * min(V, tile))
    for start in range(0, V, tile):
        vocabulary = slice(start, min(start + tile, V))
        head = weight(start, vocabulary.stop) if callable(weight) else weight[vocabulary]
        head = head.to(dn.dtype)
        for first in range(0, R, ROWS):
            rows = slice(first, min(first + ROWS, R))
            shape = (rows.stop - first, vocabulary.stop - start)
            dz = scratch[: shape[0] * shape[1]].view(shape)
            torch.mm(dn[rows], head.T, out=dz)
            if scale != 1.0:
                dz *= scale
            if softcap is not None:
                assert base_logits is not None
                base = base_logits[:, vocabulary] * (scale / softcap)
                before = base.tanh()[row_prompt[rows]]
                after = torch.tanh(base[row_prompt[rows]] + dz / softcap)
                dz.div_(softcap).tanh_().mul_(1 - before * after).mul_(softcap)
            yield rows, vocabulary, dz
