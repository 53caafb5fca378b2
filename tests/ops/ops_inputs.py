"""Inputs that the op tests share."""

import torch

# Around the vector widths and the blocks of the kernels, and one that is not small.
SIZES = (1, 7, 63, 64, 65, 1000)


def rows_of(*counts):
    """Return row_prompt for prompts with these numbers of rows."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def double(*arguments):
    """Return the arguments with every float32 tensor in float64."""
    return tuple(
        a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a
        for a in arguments
    )


def strided(tensor):
    """Return the same values in every second element of a larger tensor."""
    spread = torch.full((*tensor.shape, 2), torch.nan, dtype=tensor.dtype)
    spread[..., 0] = tensor
    return spread[..., 0]
