"""Fixtures of the op tests: instruction sets."""

import pytest

from negkernel import _ext


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
