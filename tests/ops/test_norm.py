"""Delta norm: reference against plain differences, C++ against the reference."""

import pytest
import torch
from ops_inputs import SIZES, double, rows_of, strided

from negkernel.ops import norm
from negkernel.testing.compare import assert_close

EPS = 1e-5
kinds = pytest.mark.parametrize("kind", ["rms", "layer"])


def inputs(counts, *shape, step):
    x, d = torch.randn(len(counts), *shape), step * torch.randn(sum(counts), *shape)
    return x, d, rows_of(*counts), torch.randn(shape[-1])


def plain(x, d, row_prompt, weight, kind):
    def of(h):
        if kind == "layer":
            return torch.nn.functional.layer_norm(h, h.shape[-1:], weight, eps=EPS)
        return torch.nn.functional.rms_norm(h, h.shape[-1:], weight, eps=EPS)

    return of(x[row_prompt] + d) - of(x[row_prompt])


def budget(x, d, row_prompt, weight, truth, kind):
    """Twice what plain float32 loses, and 1e-6 of the terms that make up the difference."""
    eager = plain(x, d, row_prompt, weight, kind).double()
    x, d, weight = x.double()[row_prompt], d.double(), weight.double()
    if kind == "layer":
        # Centring leaves the rounding of the mean in every element.
        x, d = x.abs() + x.mean(-1, keepdim=True).abs(), d.abs() + d.mean(-1, keepdim=True).abs()
    s0 = (x.square().mean(-1, keepdim=True) + EPS).rsqrt()
    s1 = ((x + d).square().mean(-1, keepdim=True) + EPS).rsqrt()
    s1 = torch.maximum(s1, ((x - d).square().mean(-1, keepdim=True) + EPS).rsqrt())
    dm = (d.abs() * (2 * x.abs() + d.abs())).mean(-1, keepdim=True)
    terms = d.abs() * s1 + x.abs() * dm * s0.square() * s1.square() / (s0 + s1)
    return 2 * (eager - truth).abs() + 1e-6 * terms * weight.abs()


@kinds
@pytest.mark.parametrize("step", [1e-6, 1.0, 50.0])
@pytest.mark.parametrize("shape", [(65,), (3, 16)], ids=["hidden", "heads"])
def test_reference_is_the_plain_difference_in_float64(kind, step, shape):
    x, d, row_prompt, weight = double(*inputs((3, 0, 20), *shape, step=step))
    expected = plain(x, d, row_prompt, weight, kind)
    assert_close(norm(x, d, row_prompt, weight=weight, eps=EPS, kind=kind), expected, budget=2e-14)


@kinds
@pytest.mark.parametrize("impl", ["reference", "cpp"])
def test_small_differences_keep_their_digits(kind, impl, compiled):
    x, d, row_prompt, weight = inputs((9, 8), 768, step=1e-6)
    got = norm(x, d, row_prompt, weight=weight, eps=EPS, kind=kind, impl=impl)
    truth = plain(*double(x, d, row_prompt, weight), kind)
    scale = truth.abs().amax(-1, keepdim=True)
    assert_close(got.double(), truth, budget=1e-6, relative_to=scale)
    eager = plain(x, d, row_prompt, weight, kind).double()
    assert (eager - truth).abs().max() > 1e-3 * scale.max()  # what the op is for


@kinds
@pytest.mark.parametrize("step", [1e-4, 1.0, 50.0])
@pytest.mark.parametrize("fused", [True, False], ids=["branch", "plain"])
def test_cpp_within_budget(kind, step, fused, isa, nan_filled):
    for width in SIZES:
        for shape in ((width,), (3, width)):
            x, d, row_prompt, weight = inputs((5, 0, 1, 30), *shape, step=step)
            branch = step * torch.randn_like(d) if fused else None
            total = d + branch if fused else d.clone()
            truth = norm(*double(x, total, row_prompt), weight=weight.double(), eps=EPS, kind=kind)
            got = norm(
                x, d, row_prompt, weight=weight, eps=EPS, kind=kind, branch=branch, impl="cpp"
            )
            allowed = budget(x, total, row_prompt, weight, truth, kind)
            assert_close(got.double(), truth, budget=allowed, what=f"{shape}")
            assert torch.equal(d, total)  # the residual add is done in place


@kinds
def test_difference_that_cancels_the_base(kind, isa):
    x, _, row_prompt, weight = inputs((4,), 64, step=1.0)
    d = -x[row_prompt] + 1e-3 * torch.randn(4, 64)
    truth = norm(*double(x, d, row_prompt), weight=weight.double(), eps=EPS, kind=kind)
    got = norm(x, d, row_prompt, weight=weight, eps=EPS, kind=kind, impl="cpp")
    # x + d is 1e-3 with an error of 6e-8: that much of the result is lost with the inputs.
    assert_close(got.double(), truth, budget=5e-4, relative_to=truth.abs().max())


@kinds
def test_without_weight_one_row_and_none(kind, isa):
    for counts in ((1,), (0, 0)):
        x, d, row_prompt, _ = inputs(counts, 64, step=1.0)
        got = norm(x, d, row_prompt, weight=None, eps=EPS, kind=kind, impl="cpp")
        expected = norm(x, d, row_prompt, weight=None, eps=EPS, kind=kind, impl="reference")
        assert_close(got, expected, budget=1e-5)


@kinds
def test_repeats_bit_for_bit_on_any_number_of_threads(kind, isa):
    x, d, row_prompt, weight = inputs((100, 3, 97), 1000, step=1.0)
    threads = torch.get_num_threads()
    first = norm(x, d, row_prompt, weight=weight, eps=EPS, kind=kind, impl="cpp")
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            again = norm(x, d, row_prompt, weight=weight, eps=EPS, kind=kind, impl="cpp")
            assert torch.equal(first, again)
    finally:
        torch.set_num_threads(threads)


def test_nan_stays_in_its_row(isa):
    x, d, row_prompt, weight = inputs((4,), 65, step=1.0)
    d[2, 64] = torch.nan
    dn = norm(x, d, row_prompt, weight=weight, eps=EPS, impl="cpp")
    assert dn.isnan().all(-1).tolist() == [False, False, True, False]
    assert dn[[0, 1, 3]].isfinite().all()


def test_refuses_what_it_cannot_take(compiled):
    x, d, row_prompt, weight = inputs((4, 4), 64, step=1.0)
    with pytest.raises(NotImplementedError, match="not contiguous"):
        norm(x, strided(d), row_prompt, weight=weight, eps=EPS, impl="cpp")
    expected = norm(x, d, row_prompt, weight=weight, eps=EPS, impl="reference")
    assert_close(norm(x, strided(d), row_prompt, weight=weight, eps=EPS), expected, budget=1e-6)
    with pytest.raises(IndexError, match=r"row_prompt\[0\] is -1"):
        norm(x, d, row_prompt - (torch.arange(8) == 0).long(), weight=weight, eps=EPS, impl="cpp")
    with pytest.raises(ValueError, match="kind is 'batch', expected rms or layer"):
        norm(x, d, row_prompt, weight=weight, eps=EPS, kind="batch")
    with pytest.raises(ValueError, match=r"weight has shape \[63\], expected \[64\]"):
        norm(x, d, row_prompt, weight=weight[1:], eps=EPS)
    with pytest.raises(TypeError, match=r"d is torch.float64 .* but x is torch.float32"):
        norm(x, d.double(), row_prompt, weight=weight, eps=EPS)
    with pytest.raises(TypeError, match=r"d is torch\.bfloat16"):
        norm(x, d.bfloat16(), row_prompt, weight=weight, eps=EPS)
