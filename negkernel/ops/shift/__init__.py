"""Injection: what shifted neurons add to the output of the down projection."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.contract import check_floats, check_index, check_shape
from negkernel.ops.shift import reference, triton

BACKENDS = {"triton": triton, "reference": reference}


def shift(
    columns: torch.Tensor,
    row_column: torch.Tensor,
    coefficient: torch.Tensor,
    *,
    impl: str = "auto",
) -> torch.Tensor:
    """Return coefficient[r] * columns[row_column[r]] for every row r.

    Parameters
    ----------
    columns : torch.Tensor
        Columns of the down projection of the shifted neurons, [U, H].
    row_column : torch.Tensor
        Which of them each row injects, [R] int64.
    coefficient : torch.Tensor
        Change of the down projection's input at that neuron, [R].
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        d, [R, H].
    """
    check_floats("shift", columns=columns, coefficient=coefficient)
    check_index("shift", "row_column", row_column, coefficient.shape[0])
    check_shape("shift", "coefficient", coefficient, row_column.shape[0])
    return dispatch.call("shift", BACKENDS, impl, columns, row_column, coefficient)
