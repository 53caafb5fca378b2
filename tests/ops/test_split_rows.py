"""Rows as the sum of two of half precision: what a GPU multiplies states and gradients by."""

import pytest
import torch

from negkernel.ops.linear.split import split_rows
from negkernel.testing.compare import assert_close

# Two times 8 and two times 11 bits, each rounding to nearest.
BITS = {torch.bfloat16: 2**-16, torch.float16: 2**-21}


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("size", [1e-37, 1e-12, 1.0, 7e4, 1e30])
def test_the_sum_is_the_row(dtype, size):
    """Far below and above float16's range, with entries of a row six orders apart."""
    x = size * torch.randn(6, 300) * 10 ** (-6 * torch.rand(6, 300))
    x[2] = 0
    halves, exponent = split_rows(x, dtype)
    assert halves.dtype == dtype
    assert halves.isfinite().all()
    high, low = halves.double().chunk(2)
    largest = x.double().abs().amax(1, keepdim=True)
    budget = BITS[dtype] * x.double().abs() + 2**-38 * largest
    assert_close(torch.ldexp(high + low, exponent), x.double(), budget=budget)


@pytest.mark.parametrize("dtype", BITS)
def test_products_add_up(dtype):
    """As :meth:`Precision.exact` puts them together on a GPU, with a matrix that is stored so."""
    x, weight = 1e-9 * torch.randn(4, 200), torch.randn(50, 200).to(dtype)
    halves, exponent = split_rows(x, dtype)
    high, low = (halves.float() @ weight.float().t()).chunk(2)
    truth = x.double() @ weight.double().t()
    terms = x.double().abs() @ weight.double().abs().t()
    got = torch.ldexp(high + low, exponent)
    # Float32 sums round by at most as many halves of an ulp as they have terms.
    assert_close(got.double(), truth, budget=(BITS[dtype] + 200 * 2**-24) * terms)
