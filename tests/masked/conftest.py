"""Prompts, neurons and shifts that the masked tests share."""

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
    """The mask first, last, alone and in between; prompts of one length; a duplicate.

    4 is the mask token (see `masked_models`), 1 RoBERTa's padding, which takes no position.
    """
    long = np.random.default_rng(7).integers(5, 101, 24).tolist()
    middle = [2, 5, 4, 7, 9]
    return [middle, [4, 5, 6, 8, 10], [4], [2, 9, 1, 4, 1, 8], [*long, 4], list(middle)]


@pytest.fixture(scope="session")
def targets(prompts):
    """Two targets for each prompt."""
    return [[7 + p, 90 - p] for p in range(len(prompts))]


@pytest.fixture(scope="session")
def shifts():
    return np.array([-2.0, -0.1, 0.0, 0.1, 2.0])
