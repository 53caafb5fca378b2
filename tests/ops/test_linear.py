"""Products with the model's matrices: every backend against the float64 product."""

import pytest
import torch

from negkernel.ops import linear
from negkernel.ops.linear import onednn
from negkernel.testing.compare import assert_close

ALWAYS = ["reference", "onednn"]


@pytest.fixture(params=ALWAYS)
def impl(request, monkeypatch):
    if request.param == "onednn":
        if why_not := onednn.available():
            pytest.skip(why_not)
        monkeypatch.setattr(onednn, "LEAST_WEIGHT", 1)
    return request.param


def budget(x, weight):
    # A sum of K products rounds by at most K halves of an ulp of its terms.
    return x.shape[-1] * 2**-24 * (x.double().abs() @ weight.double().abs().T)


# Around the padded numbers of rows and the vector width.
@pytest.mark.parametrize(("M", "N", "K"), [(1, 1, 1), (7, 3, 5), (16, 17, 31), (17, 64, 65)])
@pytest.mark.parametrize("layout", ["rows", "columns", "slice"])
def test_it_is_the_product(impl, M, N, K, layout):
    x = torch.randn(M, K)
    weight = {
        "rows": torch.randn(N, K),
        "columns": torch.randn(K, N).t(),
        "slice": torch.randn(N + 5, K + 3)[3:-2, 2:-1],
    }[layout]
    got = linear(x, weight, impl=impl)
    assert_close(got.double(), x.double() @ weight.double().T, budget=budget(x, weight))
    assert got.is_contiguous()


def test_rows_may_have_several_dimensions_and_any_stride(impl):
    x, weight = torch.randn(3, 7, 40)[..., ::2], torch.randn(9, 20)
    got = linear(x, weight, impl=impl)
    assert_close(got.double(), x.double() @ weight.double().T, budget=budget(x, weight))


def test_no_rows(impl):
    weight = torch.randn(9, 20)
    if impl == "onednn":
        with pytest.raises(NotImplementedError, match="not worth the call"):
            linear(torch.randn(0, 20), weight, impl=impl)
    assert linear(torch.randn(0, 20), weight).shape == (0, 9)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_operands_are_rounded_and_their_products_are_not(impl, stored):
    x, weight = torch.randn(20, 64), torch.randn(30, 64).to(stored)
    near_x, near_weight = x.bfloat16().double(), weight.bfloat16().double()
    got = linear(x, weight, operand=torch.bfloat16, impl=impl)
    assert got.dtype == torch.float32
    assert_close(got.double(), near_x @ near_weight.T, budget=budget(near_x, near_weight))
    if stored == torch.float32:  # the rounding is felt at all
        assert (got.double() - x.double() @ weight.double().T).abs().max() > 1e-3


def test_a_half_precision_matrix_is_taken_as_it_stands(impl):
    x, weight = torch.randn(4, 8), torch.randn(5, 8).bfloat16()
    got = linear(x, weight, impl=impl)
    assert_close(got.double(), x.double() @ weight.double().T, budget=budget(x, weight))


def test_nan_and_infinity_stay_in_their_rows(impl):
    x, weight = torch.randn(20, 24), torch.rand(6, 24) + 0.1
    x[3, 5], x[7, 0] = torch.nan, torch.inf
    got = linear(x, weight, impl=impl)
    assert got[3].isnan().all()
    assert (got[7] == torch.inf).all()
    rest = [row for row in range(20) if row not in (3, 7)]
    assert got[rest].isfinite().all()


@pytest.mark.skipif(onednn.available() is not None, reason="PyTorch without oneDNN")
def test_auto_takes_onednn_where_it_pays_and_nothing_forbids_it():
    x, weight = torch.randn(4, 256), torch.randn(256, 256)
    assert torch.equal(linear(x, weight), linear(x, weight, impl="onednn"))
    reasons = {
        "is torch.float64": (x.double(), weight.double()),
        "records no graph": (x.clone().requires_grad_(), weight),
        "not worth the call": (x[:, :8], weight[:, :8]),
    }
    for reason, (rows, matrix) in reasons.items():
        assert reason in onednn.supports(rows, matrix)
        assert linear(rows, matrix).shape == (4, 256)
    rows = x.clone().requires_grad_()
    linear(rows, weight).sum().backward()
    assert_close(rows.grad, weight.sum(0).expand(4, -1), budget=1e-4)
    with torch.no_grad():
        assert onednn.supports(rows, weight) is None
    with torch.backends.mkldnn.flags(enabled=False):
        assert "switched off" in onednn.supports(x, weight)


def test_many_numbers_of_rows_come_down_to_a_few():
    for rows in range(1, 5000):
        assert rows <= onednn.padded(rows) <= max(rows + 15, rows * 1.07)
        assert onednn.padded(onednn.padded(rows)) == onednn.padded(rows)
    assert len({onednn.padded(rows) for rows in range(1, 513)}) <= 16 + 31
    assert len({onednn.padded(rows) for rows in range(513, 1025)}) == 16


def test_refuses_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"weight has shape \[3, 4\], expected \[3, 5\]"):
        linear(torch.randn(2, 5), torch.randn(3, 4))
    with pytest.raises(TypeError, match=r"weight is torch\.int64 on cpu"):
        linear(torch.randn(2, 5), torch.ones(3, 5, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"x is torch\.bfloat16"):
        linear(torch.randn(2, 5).bfloat16(), torch.randn(3, 5))
