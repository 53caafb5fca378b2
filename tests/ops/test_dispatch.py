"""Which backend runs, and what is said when one cannot."""

import logging

import pytest
import torch
from ops_inputs import rows_of

from negkernel.ops import BACKENDS, _ext, decisions, dispatch, norm


@pytest.fixture
def without_module(monkeypatch):
    monkeypatch.setattr(_ext, "module", lambda: None)
    _ext.kernels.cache_clear()
    yield
    _ext.kernels.cache_clear()


def call(dtype=torch.float32, **options):
    x, d = torch.randn(1, 8, dtype=dtype), torch.randn(2, 8, dtype=dtype)
    return norm(x, d, rows_of(2), weight=None, eps=1e-5, **options)


@pytest.fixture
def ran(monkeypatch):
    """Record which backends of norm run."""
    names = []
    for name, backend in BACKENDS["norm"].items():
        original = backend.norm

        def spy(*args, _name=name, _original=original, **options):
            names.append(_name)
            return _original(*args, **options)

        monkeypatch.setattr(backend, "norm", spy)
    return names


def test_auto_prefers_cpp_for_float32_on_the_cpu(ran, compiled):
    call()
    call(torch.float64)
    assert ran == ["cpp", "reference"]


def test_environment_overrides_auto_but_not_an_explicit_choice(ran, monkeypatch, compiled):
    monkeypatch.setenv("NEGKERNEL_BACKEND", "reference")
    call()
    call(impl="cpp")
    assert ran == ["reference", "cpp"]


def test_environment_that_cannot_run_is_said_once(ran, monkeypatch, caplog, compiled):
    monkeypatch.setenv("NEGKERNEL_BACKEND", "cpp")
    monkeypatch.setattr(dispatch, "_told", set())
    with caplog.at_level(logging.WARNING):
        call(torch.float64)
        call(torch.float64)
    assert ran == ["reference", "reference"]
    assert [r.getMessage() for r in caplog.records] == [
        "norm: NEGKERNEL_BACKEND=cpp cannot run: a tensor is torch.float64, "
        "the C++ kernels are for float32"
    ]


def test_unknown_backend_is_an_error():
    with pytest.raises(ValueError, match=r"impl is 'cuda', expected auto, .*cpp, .*reference"):
        call(impl="cuda")


def test_unknown_backend_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("NEGKERNEL_BACKEND", "c++")
    with pytest.raises(ValueError, match=r"NEGKERNEL_BACKEND is 'c\+\+', expected one of auto"):
        call()


def test_a_graph_needs_the_reference(ran, compiled):
    x, d = torch.randn(1, 8), torch.randn(2, 8, requires_grad=True)
    norm(x, d, rows_of(2), weight=None, eps=1e-5).sum().backward()
    assert ran == ["reference"]
    with pytest.raises(NotImplementedError, match="requires grad"):
        norm(x, d, rows_of(2), weight=None, eps=1e-5, impl="cpp")


def test_decisions_name_every_op(compiled):
    told = decisions()
    assert set(told) == set(BACKENDS) >= {"shift", "norm", "attention", "mlp", "logprob"}
    assert all(backends["reference"] is None for backends in told.values())
    assert all(told[op]["cpp"] is None for op in ("norm", "attention", "mlp", "logprob"))


def test_without_the_module_the_reference_runs(ran, without_module):
    call()
    assert ran == ["reference"]
    assert "missing" in decisions()["norm"]["cpp"]
    with pytest.raises(NotImplementedError, match=r"negkernel\._C is missing"):
        call(impl="cpp")


def test_an_unknown_instruction_set_is_an_error(monkeypatch, compiled):
    monkeypatch.setenv("NEGKERNEL_ISA", "sse9")
    _ext.kernels.cache_clear()
    with pytest.raises(ValueError, match="NEGKERNEL_ISA is 'sse9', expected one of portable"):
        _ext.kernels()
    _ext.kernels.cache_clear()
