"""Fixtures of the op tests: instruction sets, Triton's interpreter."""

import pytest
import torch

from negkernel.ops import _ext


@pytest.fixture(params=["portable", "avx2", "avx512"])
def isa(request, monkeypatch):
    """Run the C++ kernels of one instruction set after the other."""
    if _ext.module() is None:
        pytest.skip("negkernel._C is not built")
    if request.param not in _ext.isas():
        pytest.skip(f"this processor does not run {request.param}")
    monkeypatch.setenv("NEGKERNEL_ISA", request.param)
    _ext.kernels.cache_clear()
    yield request.param
    _ext.kernels.cache_clear()


@pytest.fixture
def compiled():
    """Skip where the compiled module is missing."""
    if _ext.module() is None:
        pytest.skip("negkernel._C is not built")


@pytest.fixture
def interpreted(monkeypatch):
    """Run the Triton kernels in Triton's interpreter, on CPU tensors."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("the kernels are compiled in this process: tests/gpu runs them")
    monkeypatch.setenv("NEGKERNEL_BACKEND", "triton")
