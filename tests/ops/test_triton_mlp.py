"""Delta MLP and injection in Triton's interpreter, against their references."""

import mpmath
import pytest
import torch
from ops_inputs import double, rows_of, strided
from test_mlp import EXACT, activations, budget, inputs, kinds

from negkernel.ops import mlp, shift
from negkernel.testing.compare import assert_close


@activations
@kinds
@pytest.mark.parametrize("step", [1e-4, 1.0, 50.0])
def test_within_budget(activation, gated, step, interpreted, nan_filled):
    for width in (1, 65):
        arguments = inputs((3, 0, 1, 4), width, step, gated)
        truth = mlp(*double(*arguments), activation=activation, impl="reference")
        got = mlp(*arguments, activation=activation, impl="triton")
        assert_close(got.double(), truth, budget=budget(arguments, truth, activation))


@activations
def test_small_and_large_steps_against_mpmath(activation, interpreted):
    base = torch.tensor([-9.0, -4.5, -1.0, -1e-3, 0.0, 0.3, 2.0, 7.5])
    steps = (1e-12, 1e-6, 1e-3, 0.49, 0.51, 3.0, 50.0, 200.0)
    for step in (*steps, *(-step for step in steps)):
        d = torch.full((1, 8), step)
        dh = mlp(None, base[None], None, d, rows_of(1), activation=activation, impl="triton")
        for x, got in zip(base.tolist(), dh[0].tolist(), strict=True):
            with mpmath.workdps(60):
                a, b = mpmath.mpf(x), mpmath.mpf(x) + mpmath.mpf(d[0, 0].item())
                truth = float(EXACT[activation](b) - EXACT[activation](a))
            assert abs(got - truth) <= 1e-6 * abs(step), (x, step, got, truth)


@activations
def test_nan_goes_through_and_the_rest_repeats_bit_for_bit(activation, interpreted):
    gate, up, dgate, dup, row_prompt = inputs((4,), 65, 1.0)
    first = mlp(gate, up, dgate, dup, row_prompt, activation=activation, impl="triton")
    dgate[1, 3] = dup[2, 64] = torch.nan
    again = mlp(gate, up, dgate, dup, row_prompt, activation=activation, impl="triton")
    assert again.isnan().nonzero().tolist() == [[1, 3], [2, 64]]
    assert torch.equal(first[~again.isnan()], again[~again.isnan()])


def test_strided_inputs_are_taken(interpreted):
    gate, up, dgate, dup, row_prompt = inputs((2, 3), 65, 1.0)
    got = mlp(strided(gate), strided(up), strided(dgate), strided(dup), row_prompt, impl="triton")
    assert_close(got, mlp(gate, up, dgate, dup, row_prompt, impl="reference"), budget=1e-5)
    assert mlp(gate, up, dgate[:0], dup[:0], row_prompt[:0], impl="triton").shape == (0, 65)


@pytest.mark.parametrize("H", [1, 65, 1030])
def test_shift_is_the_reference_bit_for_bit(H, interpreted, nan_filled):
    columns, row_column = torch.randn(3, H), torch.tensor([2, 0, 2, 1])
    coefficient = torch.tensor([1.0, -2.0, 0.0, 1e-3])
    got = shift(strided(columns), row_column, coefficient, impl="triton")
    assert torch.equal(got, shift(columns, row_column, coefficient, impl="reference"))
    assert shift(columns, row_column[:0], coefficient[:0], impl="triton").shape == (0, H)
