"""A few rows times a matrix: the products of the last-token VJP, bound by reading the weights."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.contract import check_floats, check_shape
from negkernel.ops.skinny import cpp, reference

BACKENDS = {"cpp": cpp, "reference": reference}
MOST_ROWS = cpp.MOST_ROWS


def skinny(y: torch.Tensor, weight: torch.Tensor, *, impl: str = "auto") -> torch.Tensor:
    """Return `y @ weight` for the few rows of `y`.

    One prompt with a handful of labels makes products of that many rows, whose price is reading
    the weights once. General matrix products are made for many rows: with one or two they read at
    half of the memory's rate.

    Parameters
    ----------
    y : torch.Tensor
        Rows, [M, K].
    weight : torch.Tensor
        Matrix, [K, N].
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        Product, [M, N], summed in the dtype of `y`.
    """
    check_floats("skinny", y=y, weight=weight)
    check_shape("skinny", "weight", weight, y.shape[1], weight.shape[-1])
    return dispatch.call("skinny", BACKENDS, impl, y, weight)
