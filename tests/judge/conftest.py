"""What the tests of the judge share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tiny matrices off the thread pool: starting threads would cost more than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
