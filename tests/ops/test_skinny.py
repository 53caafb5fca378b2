"""A few rows times a matrix: every backend against the float64 product."""

import pytest
import torch

from negkernel.ops import _ext, skinny
from negkernel.testing.compare import assert_close

# Around the depth of 8, a cache line of 16 and the column block of 1,024.
SHAPES = [(1, 1, 1), (1, 7, 15), (2, 8, 16), (1, 9, 17), (1, 64, 1023), (2, 65, 1025), (2, 100, 31)]


@pytest.mark.parametrize(("M", "K", "N"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_cpp_is_the_product(M, K, N, threads, isa):
    y, weight = torch.randn(M, K), torch.randn(K, N)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        got = skinny(y, weight, impl="cpp")
    finally:
        torch.set_num_threads(before)
    truth = y.double() @ weight.double()
    # A sum of K products rounds by at most K halves of an ulp of its terms.
    budget = K * 2**-24 * (y.double().abs() @ weight.double().abs())
    assert_close(got.double(), truth, budget=budget)


def test_a_vocabulary_of_terms_is_not_summed_in_sequence(isa):
    """All of one sign, as p times a head whose rows have much in common: nothing averages out."""
    y, weight = torch.rand(3, 50_000), 1 + 0.1 * torch.randn(50_000, 40)
    truth = y.double() @ weight.double()
    # Parts of 256 in eights: some 240 roundings of half an ulp, a tenth of which do not cancel.
    # In sequence it would be 2e-5 and more.
    assert_close(skinny(y, weight, impl="cpp").double(), truth, budget=2e-6, relative_to=truth)


def test_threads_do_not_change_a_bit(isa):
    y, weight = torch.randn(2, 300), torch.randn(300, 700)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(skinny(y, weight, impl="cpp"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_outputs_are_written_whatever_was_there(monkeypatch, compiled):
    y, weight = torch.randn(2, 20), torch.randn(20, 40)
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *shape: self.new_full(shape, torch.nan)
    )
    assert_close(skinny(y, weight, impl="cpp"), y @ weight, budget=1e-4)


def test_many_rows_and_float64_go_to_the_reference():
    with pytest.raises(NotImplementedError, match="at most 4"):
        skinny(torch.randn(9, 4), torch.randn(4, 4), impl="cpp")
    if _ext.module() is not None:
        with pytest.raises(NotImplementedError, match="float64"):
            skinny(torch.randn(2, 4).double(), torch.randn(4, 4).double(), impl="cpp")
    y, weight = torch.randn(9, 4).double(), torch.randn(4, 5).double()
    assert torch.equal(skinny(y, weight), y @ weight)


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"weight has shape \[3, 4\]"):
        skinny(torch.randn(2, 5), torch.randn(3, 4))
