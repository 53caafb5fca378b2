"""Split rows of float32 into two of half precision whose products add up to theirs."""

import torch


def split_rows(x: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two half-precision terms of each row and the power of two that their sum lacks.

    Parameters
    ----------
    x : torch.Tensor
        Rows [R, K], float32.
    dtype : torch.dtype
        float16 or bfloat16.

    Returns
    -------
    halves : torch.Tensor
        [2 R, K] in `dtype`: the rows rounded, below them what rounding took. Their sum is within
        2^-16 (bfloat16) or 2^-21 (float16) of each entry, or 2^-38 of the row's largest where that
        is more: the scale keeps that one just inside float16, far above where it underflows.
    exponent : torch.Tensor
        [R, 1] int32; `x` is `2 ** exponent` times the sum.
    """
    largest = x.abs().amax(1, keepdim=True)
    exponent = (torch.frexp(largest).exponent - 15).clamp_min(-126)  # 2^127 is a float32's largest
    scaled = torch.ldexp(x, -exponent)
    high = scaled.to(dtype)
    low = (scaled - high.to(x.dtype)).to(dtype)
    return torch.cat([high, low]), exponent
