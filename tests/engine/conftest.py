"""Prompts, neurons and shifts that the engine's tests share."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tiny matrices off the thread pool: starting threads would cost more than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def prompts():
    """One token; a shared prefix; beginnings of others; a duplicate; long ones.

    Two of them lie on either side of the length at which scaled RoPE changes its frequencies, so
    that what they share in tokens they do not share in keys.
    """
    long = np.random.default_rng(7).integers(0, 101, 30).tolist()
    short = [1, 5, 6, 7, 9]
    return [short, [1, 5, 6, 8], [3], [1, 5, 6], long, long[:17], long[:8], list(short)]


@pytest.fixture(scope="session")
def targets(prompts):
    """Two targets for each prompt."""
    return [[7 + p, 90 - p] for p in range(len(prompts))]


@pytest.fixture(scope="session")
def neurons():
    """Neurons of every layer, two of them in one, in no order."""
    return np.array([[1, 5], [0, 1], [2, 39], [1, 6]])


@pytest.fixture(scope="session")
def shifts():
    return np.array([-2.0, -0.1, 0.0, 0.1, 2.0])
