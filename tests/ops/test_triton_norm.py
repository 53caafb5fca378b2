"""Delta norm in Triton's interpreter, against the float64 reference."""

import pytest
import torch
from ops_inputs import double, rows_of, strided
from test_norm import EPS, budget, inputs, kinds

from negkernel.ops import norm
from negkernel.testing.compare import assert_close

# Shorter, as long and longer than a power of two; a norm per head; one element.
SHAPES = [(1,), (64,), (65,), (3, 20)]


@kinds
@pytest.mark.parametrize("step", [1e-4, 1.0, 50.0])
@pytest.mark.parametrize("fused", [True, False], ids=["branch", "plain"])
def test_within_budget(kind, step, fused, interpreted, nan_filled):
    for shape in SHAPES:
        x, d, row_prompt, weight = inputs((5, 0, 1, 30), *shape, step=step)
        branch = step * torch.randn_like(d) if fused else None
        total = d + branch if fused else d.clone()
        truth = norm(*double(x, total, row_prompt), weight=weight.double(), eps=EPS, kind=kind)
        got = norm(
            x, d, row_prompt, weight=weight, eps=EPS, kind=kind, branch=branch, impl="triton"
        )
        allowed = budget(x, total, row_prompt, weight, truth, kind)
        assert_close(got.double(), truth, budget=allowed, what=f"{shape}")
        assert torch.equal(d, total)  # the residual add is done in place


@kinds
def test_small_differences_keep_their_digits(kind, interpreted):
    x, d, row_prompt, weight = inputs((2, 1), 300, step=1e-6)
    got = norm(x, d, row_prompt, weight=weight, eps=EPS, kind=kind, impl="triton")
    truth = norm(*double(x, d, row_prompt), weight=weight.double(), eps=EPS, kind=kind)
    assert_close(got.double(), truth, budget=1e-6, relative_to=truth.abs().amax(-1, keepdim=True))


def test_a_branch_needs_rows_that_can_be_updated_in_place(interpreted):
    x, d, row_prompt, weight = inputs((3, 4), 20, step=1.0)
    expected = norm(x, d, row_prompt, weight=weight, eps=EPS, impl="reference")
    got = norm(strided(x), strided(d), row_prompt, weight=strided(weight), eps=EPS, impl="triton")
    assert_close(got, expected, budget=2e-6)
    with pytest.raises(NotImplementedError, match="d is not contiguous"):
        norm(x, strided(d), row_prompt, weight=None, eps=EPS, branch=d, impl="triton")


def test_repeats_bit_for_bit_and_nan_stays_in_its_row(interpreted):
    x, d, row_prompt, weight = inputs((4,), 65, step=1.0)
    first = norm(x, d, row_prompt, weight=weight, eps=EPS, impl="triton")
    d[2, 64] = torch.nan
    again = norm(x, d, row_prompt, weight=weight, eps=EPS, impl="triton")
    assert again.isnan().all(-1).tolist() == [False, False, True, False]
    assert torch.equal(first[[0, 1, 3]], again[[0, 1, 3]])


def test_no_rows(interpreted):
    assert norm(torch.ones(1, 8), torch.ones(0, 8), rows_of(0), weight=None, eps=EPS).numel() == 0
