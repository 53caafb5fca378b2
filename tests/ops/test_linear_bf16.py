"""Products of bfloat16 operands on the CPU: csrc/linear against the float64 product."""

import pytest
import torch

from negkernel.ops import _ext, linear
from negkernel.ops.linear import cpp
from negkernel.testing.compare import assert_close

# Around a pair of k, the 16 lanes of a vector, 14 columns a tile, 32 rows a tile and k a block,
# four tiles a group, 512 rows and 1,024 k a pass.
SHAPES = [
    (1, 1, 1),
    (2, 2, 2),
    (15, 13, 31),
    (16, 14, 32),
    (17, 15, 33),
    (31, 33, 15),
    (33, 57, 64),
    (48, 31, 1025),
    (49, 113, 2100),
    (513, 29, 17),
    (1040, 16, 40),
]
# The smallest float32 with all its digits: the unit takes what is below for zero.
LEAST = 2.0**-126


@pytest.fixture(autouse=True)
def instruction():
    if why_not := cpp.available():
        pytest.skip(why_not)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def product(x, weight):
    return linear(x, weight, operand=torch.bfloat16, impl="cpp")


def check(x, weight):
    """Compare with the float64 product of the rounded operands."""
    got = product(x, weight)
    x, weight = x.bfloat16().double(), weight.bfloat16().double()
    # Products are exact; K of them are summed with at most K roundings, half an ulp of the terms
    # each, and every product and every sum may lose what float32 holds below its normal range.
    K = x.shape[1]
    budget = K * (2**-24 * (x.abs() @ weight.abs().T) + 2 * LEAST)
    assert_close(got.double(), x @ weight.T, budget=budget)


@pytest.mark.parametrize(("M", "N", "K"), SHAPES)
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_it_is_the_product_of_the_rounded_operands(M, N, K, stored, layout, threads):
    weight = (torch.randn(N, K) if layout == "rows" else torch.randn(K, N).t()).to(stored)
    check(torch.randn(M, K), weight)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_nothing_around_the_operands_is_read(layout, stored):
    """A slice of a fused matrix, of every second k, of single positions; NaN lies around them."""
    around_x = torch.full((40, 3, 70), torch.nan)
    around_weight = torch.full((70, 70), torch.nan, dtype=stored)
    x, weight = around_x[:, 1, 3:48], around_weight[5:34, 10:55]
    if layout == "columns":
        weight = around_weight[10:55, 5:34].t()
    x.normal_(), weight.normal_()
    check(x, weight)
    check(x[:, ::2], weight[:, ::2])
    check(x[:1].expand(5, -1), weight)


def test_rounding_is_to_nearest_with_ties_to_even():
    bits = torch.randint(0, 2**31, (64, 256)).int()
    bits[:32] = bits[:32] & ~0xFFFF | 0x8000  # half way between two neighbours
    values = bits.view(torch.float32)
    values[~((values > LEAST) & (values < 1e38))] = 1.0
    one = torch.eye(256)
    assert torch.equal(product(values, one), values.bfloat16().float())
    assert torch.equal(product(one, values).t(), values.bfloat16().float())
    assert torch.equal(product(one, values.t().contiguous().t()).t(), values.bfloat16().float())


def test_what_is_subnormal_is_zero():
    x = torch.tensor([[LEAST / 2, 0.0], [LEAST, 0.0], [2.0**-70, 0.0], [LEAST * 1.5, -LEAST]])
    weight = torch.tensor([[1.0, 1.0], [0.5, 0.0], [2.0**-60, 0.0]])
    expected = torch.tensor(
        [[0.0, 0.0, 0.0], [LEAST, 0.0, 0.0], [2.0**-70, 2.0**-71, 0.0], [0.0, 0.0, 0.0]]
    )
    assert torch.equal(product(x, weight), expected)
    check(x, weight)
    check(torch.randn(7, 300) * 1e-19, torch.randn(9, 300) * 1e-19)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("K", [1, 17, 33])
def test_infinity_and_nan_propagate_and_stay_in_their_rows(layout, K):
    def weight(*shape):
        entries = torch.rand(*shape) + 0.1
        return entries if layout == "rows" else entries.t().contiguous().t()

    x, w = torch.rand(40, K) + 0.1, weight(20, K)
    x[3, K - 1], x[35, 0] = torch.nan, torch.inf
    got = product(x, w)
    assert got[3].isnan().all()
    assert (got[35] == torch.inf).all()
    rest = [row for row in range(40) if row not in (3, 35)]
    assert got[rest].isfinite().all()

    x, w = torch.rand(40, K) + 0.1, weight(20, K)
    w[3, K - 1], w[15, 0], x[8] = torch.nan, torch.inf, 0.0
    got = product(x, w)
    assert got[:, 3].isnan().all()
    assert got[8, 15].isnan()
    assert (got[torch.arange(40) != 8, 15] == torch.inf).all()
    rest = [column for column in range(20) if column not in (3, 15)]
    assert got[:, rest].isfinite().all()
    # The largest float32 is nearer to infinity than to the largest bfloat16.
    assert product(torch.full((1, 1), 3.4e38), torch.ones(1, 1)).item() == torch.inf


def test_neither_other_rows_nor_threads_change_a_bit():
    x, weight = torch.randn(600, 1100), torch.randn(45, 1100).bfloat16()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = product(x, weight)
        torch.set_num_threads(3)
        assert torch.equal(product(x, weight), together)
    finally:
        torch.set_num_threads(before)
    for rows in (slice(0, 1), slice(30, 47), slice(500, 600)):
        assert torch.equal(product(x[rows], weight), together[rows])


def test_outputs_are_written_whatever_was_there(monkeypatch):
    x, weight = torch.randn(2, 9, 1030), torch.randn(30, 1030)
    expected = product(x, weight)
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *shape: self.new_full(shape, torch.nan)
    )
    assert torch.equal(product(x, weight), expected)


def test_auto_takes_it_for_bfloat16_operands_alone(monkeypatch):
    calls = []
    original = cpp.linear
    monkeypatch.setattr(cpp, "linear", lambda *a, **o: calls.append(1) or original(*a, **o))
    x, weight = torch.randn(4, 300), torch.randn(300, 300)
    linear(x, weight)
    linear(x, weight, operand=torch.float16)
    linear(x.double(), weight.double(), operand=torch.bfloat16)
    linear(x[:0], weight, operand=torch.bfloat16)
    assert not calls
    linear(x, weight, operand=torch.bfloat16)
    assert calls


def test_calls_that_it_cannot_run_are_refused():
    x, weight = torch.randn(4, 8), torch.randn(5, 8)
    for why_not, arguments, operand in [
        ("operands are torch.float32", (x, weight), None),
        ("operands are torch.float16", (x, weight), torch.float16),
        ("x is torch.float64", (x.double(), weight), torch.bfloat16),
        ("a factor is empty", (x[:0], weight), torch.bfloat16),
        ("requires grad", (x, torch.ones(5, 8, requires_grad=True)), torch.bfloat16),
    ]:
        with pytest.raises(NotImplementedError, match=why_not):
            linear(*arguments, operand=operand, impl="cpp")


def test_without_the_instruction_the_product_is_still_rounded(monkeypatch):
    monkeypatch.setenv("NEGKERNEL_ISA", "avx512")
    _ext.kernels.cache_clear()
    try:
        assert "no avx512_bf16" in str(cpp.available())
        x, weight = torch.randn(4, 8), torch.randn(5, 8)
        got = linear(x, weight, operand=torch.bfloat16)
    finally:
        _ext.kernels.cache_clear()
    near_x, near_weight = x.bfloat16().double(), weight.bfloat16().double()
    budget = 8 * 2**-24 * (near_x.abs() @ near_weight.abs().T)
    assert_close(got.double(), near_x @ near_weight.T, budget=budget)
