"""Injection of shifts."""

import pytest
import torch

from negkernel.ops import shift


def test_scales_the_column_of_each_row():
    columns, row_column = torch.randn(3, 65), torch.tensor([2, 0, 2, 1])
    coefficient = torch.tensor([1.0, -2.0, 0.0, 1e-3])
    d = shift(columns, row_column, coefficient)
    for row in range(4):
        assert torch.equal(d[row], coefficient[row] * columns[row_column[row]])


def test_refuses_what_it_cannot_take():
    columns, row_column = torch.randn(3, 65), torch.tensor([2, 0])
    with pytest.raises(IndexError):
        shift(columns, row_column + 1, torch.ones(2))
    with pytest.raises(ValueError, match=r"row_column has shape \[2\], expected \[3\]"):
        shift(columns, row_column, torch.ones(3))
    with pytest.raises(TypeError, match=r"coefficient is torch\.float64"):
        shift(columns, row_column, torch.ones(2).double())
