"""Fixtures that every test may use."""

import os

import pytest
import torch

# Triton reads this when it is imported; the kernels run interpreted only where a test asks for it.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no GPU here"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def nan_filled():
    """Fill memory that torch leaves uninitialised with NaN, so that a gap in an output shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def _real(name):
    from neurgrad import real

    if not real.is_prepared(name):
        pytest.skip(f"real model {name} is not prepared (`make real` fetches it)")
    return real.load(name)


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M-Instruct in an engine; tests share it and leave it as it is."""
    return _real("smollm2")


@pytest.fixture(scope="session")
def antiberty():
    """AntiBERTy, a masked model, in an engine; tests share it and leave it as it is."""
    return _real("antiberty")
