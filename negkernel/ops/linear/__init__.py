"""Rows times a matrix of the model: the products that everything else waits for."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.contract import check_floats, check_shape
from negkernel.ops.linear import cpp, onednn, reference

BACKENDS = {"cpp": cpp, "onednn": onednn, "reference": reference}


def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    *,
    operand: torch.dtype | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Return `x @ weight.T` for the rows of `x`.

    Parameters
    ----------
    x : torch.Tensor
        Rows, [..., K], float32 or float64.
    weight : torch.Tensor
        Matrix [N, K] of any floating dtype, as the model stores it; may be a transposed view.
    operand : torch.dtype, optional
        What both factors are rounded to before they are multiplied; the dtype of `x` if left out.
        Products are summed in the dtype of `x` whatever it is, as a tensor core does with half
        precision: the product of two bfloat16 numbers is exact in float32.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        Product, [..., N], in the dtype of `x`.
    """
    check_floats("linear", x=x)
    if not weight.is_floating_point() or weight.device != x.device:
        raise TypeError(
            f"linear: weight is {weight.dtype} on {weight.device}, expected floating point on "
            f"{x.device} like x"
        )
    check_shape("linear", "weight", weight, weight.shape[0], x.shape[-1])
    return dispatch.call("linear", BACKENDS, impl, x, weight, operand=operand)
