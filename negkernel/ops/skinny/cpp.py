"""A few rows times a matrix on the CPU: csrc/skinny."""

import torch

from negkernel.ops import _ext

# With more rows oneDNN (ops/linear) reads the weights at the same rate or multiplies faster; with
# four, one prompt's gradients of four labels take 3 % longer by it.
MOST_ROWS = 4


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    return _ext.why_not("skinny", ())


def supports(y: torch.Tensor, weight: torch.Tensor) -> str | None:
    """Return None if the C++ kernel runs this call, else why not."""
    if len(y) > MOST_ROWS:
        return f"{len(y)} rows, it is made for at most {MOST_ROWS}"
    return _ext.why_not("skinny", (y, weight))


def skinny(y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return `y @ weight`; see `negkernel.ops.skinny.skinny`."""
    M, K = y.shape
    N = weight.shape[1]
    out = y.new_empty(M, N)
    _ext.kernels().skinny(
        _ext.address(y),
        _ext.address(weight),
        _ext.address(out),
        M=M,
        K=K,
        N=N,
        num_threads=torch.get_num_threads(),
    )
    return out
