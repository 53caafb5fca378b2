"""Delta MLP: reference against plain differences and mpmath, C++ against the reference."""

import mpmath
import pytest
import torch
from ops_inputs import SIZES, double, rows_of, strided

from negkernel.ops import mlp
from negkernel.testing.compare import assert_close

ACT = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "relu": torch.relu,
}
EXACT = {
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda x: (
        x * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + 0.044715 * x**3))) / 2
    ),
    "relu": lambda x: max(x, mpmath.mpf(0)),
}
activations = pytest.mark.parametrize("activation", ACT)
kinds = pytest.mark.parametrize("gated", [True, False], ids=["gated", "ungated"])


def inputs(counts, width, step, gated=True):
    P, R = len(counts), sum(counts)
    gate, up = 2 * torch.randn(2, P, width)
    dgate, dup = step * torch.randn(2, R, width)
    return (gate if gated else None), up, (dgate if gated else None), dup, rows_of(*counts)


def plain(gate, up, dgate, dup, row_prompt, activation):
    act, up = ACT[activation], up[row_prompt]
    if gate is None:
        return act(up + dup) - act(up)
    gate = gate[row_prompt]
    return act(gate + dgate) * (up + dup) - act(gate) * up


def budget(arguments, truth, activation):
    """Twice what plain float32 loses, and 1e-6 of the terms that make up the difference.

    The slopes of all four activations are below 1.13, so the terms bound what a relative error of
    the inputs would do; the kernels' own functions err by at most 8e-7 of them.
    """
    gate, up, dgate, dup, row_prompt = double(*arguments)
    terms = dup.abs()
    if gate is not None:
        act = ACT[activation](gate)[row_prompt]
        terms = dgate.abs() * (up[row_prompt] + dup).abs() + act.abs() * dup.abs()
    eager = plain(*arguments, activation).double()
    return 2 * (eager - truth).abs() + 1e-6 * terms


@activations
@kinds
@pytest.mark.parametrize("step", [1e-3, 1.0, 50.0])
def test_reference_is_the_plain_difference_in_float64(activation, gated, step):
    arguments = double(*inputs((3, 0, 20), 65, step, gated))
    expected = plain(*arguments, activation)
    # The plain difference loses digits to the larger of its two terms.
    assert_close(
        mlp(*arguments, activation=activation),
        expected,
        budget=1e-13,
        relative_to=expected.abs().clamp_min(50.0 * max(step, 1.0)),
    )


@activations
@pytest.mark.parametrize("impl", ["reference", "cpp"])
def test_small_and_large_steps_against_mpmath(activation, impl, compiled):
    base = torch.tensor([-9.0, -4.5, -1.0, -1e-3, 0.0, 0.3, 2.0, 7.5])
    for step in (1e-12, 1e-6, 1e-3, 0.49, 0.51, 3.0, 50.0, 200.0):
        for sign in (1, -1):
            d = torch.full((8,), sign * step)
            dh = mlp(None, base[None], None, d[None], rows_of(1), activation=activation, impl=impl)
            for x, got in zip(base.tolist(), dh[0].tolist(), strict=True):
                with mpmath.workdps(60):
                    a, b = mpmath.mpf(x), mpmath.mpf(x) + mpmath.mpf(d[0].item())
                    truth = float(EXACT[activation](b) - EXACT[activation](a))
                    scale = abs(d[0].item())
                assert abs(got - truth) <= 1e-6 * scale, (x, d[0].item(), got, truth)


@activations
@kinds
@pytest.mark.parametrize("step", [1e-4, 1e-2, 1.0, 50.0])
def test_cpp_within_budget(activation, gated, step, isa, nan_filled):
    for width in SIZES:
        arguments = inputs((5, 0, 1, 30), width, step, gated)
        truth = mlp(*double(*arguments), activation=activation, impl="reference")
        got = mlp(*arguments, activation=activation, impl="cpp")
        assert_close(got.double(), truth, budget=budget(arguments, truth, activation))


@kinds
def test_one_row_and_none(gated, isa):
    for counts in ((1,), (0, 0)):
        arguments = inputs(counts, 64, 1.0, gated)
        got = mlp(*arguments, impl="cpp")
        assert got.shape == (sum(counts), 64)
        if sum(counts):
            assert_close(got, mlp(*arguments, impl="reference"), budget=1e-5)


@activations
def test_repeats_bit_for_bit_on_any_number_of_threads(activation, isa):
    arguments = inputs((100, 3, 97), 1000, 1.0)
    threads = torch.get_num_threads()
    first = mlp(*arguments, activation=activation, impl="cpp")
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            again = mlp(*arguments, activation=activation, impl="cpp")
            assert torch.equal(first, again)
    finally:
        torch.set_num_threads(threads)


@activations
def test_nan_goes_through(activation, isa):
    gate, up, dgate, dup, row_prompt = inputs((4,), 65, 1.0)
    dgate[1, 3] = dup[2, 64] = torch.nan
    dh = mlp(gate, up, dgate, dup, row_prompt, activation=activation, impl="cpp")
    assert dh.isnan().nonzero().tolist() == [[1, 3], [2, 64]]


def test_steps_of_200_stay_finite(isa):
    for activation in ACT:
        arguments = inputs((20,), 1000, 200.0)
        assert mlp(*arguments, activation=activation, impl="cpp").isfinite().all()


def test_refuses_what_it_cannot_take(compiled):
    gate, up, dgate, dup, row_prompt = inputs((4, 4), 64, 1.0)
    with pytest.raises(NotImplementedError, match="not contiguous"):
        mlp(gate, up, strided(dgate), dup, row_prompt, impl="cpp")
    assert_close(
        mlp(gate, up, strided(dgate), dup, row_prompt),
        mlp(gate, up, dgate, dup, row_prompt, impl="reference"),
        budget=0,
    )
    with pytest.raises(NotImplementedError, match="float64"):
        mlp(*double(gate, up, dgate, dup, row_prompt), impl="cpp")
    with pytest.raises(IndexError, match=r"row_prompt\[7\] is 2"):
        mlp(gate, up, dgate, dup, row_prompt + (torch.arange(8) == 7), impl="cpp")
    with pytest.raises(ValueError, match="activation is 'swish'"):
        mlp(gate, up, dgate, dup, row_prompt, activation="swish")
    with pytest.raises(ValueError, match="give both"):
        mlp(gate, up, None, dup, row_prompt)
    with pytest.raises(ValueError, match=r"dgate has shape \[8, 63\], expected \[8, 64\]"):
        mlp(gate, up, dgate[:, 1:], dup, row_prompt)
