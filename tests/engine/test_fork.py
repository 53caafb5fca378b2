"""A child that is forked while another thread is inside a call computes as if there were none."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine

IDS, TARGETS = [[5, 9, 2, 17], [7, 8]], [3, 4]
NEURONS, SHIFTS = [[0, 1], [1, 5]], [-2.0, 1.0]


def ask(engine, method):
    return engine.sweep(IDS, TARGETS, NEURONS, SHIFTS, method=method).logprob_shift


def forked(work, seconds=60):
    """Exit status of `work` in a forked child, killed where it hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


@pytest.mark.parametrize("method", ["delta", "suffix", "full"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_is_inside_a_call_neither_hangs_nor_sees_it(method):
    model = build("llama", torch.float32).train()
    expected = {name: ask(Engine(model), name) for name in ("delta", method)}
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_):
        inside.set()
        go_on.wait(60)

    # Blocks in the last layer, when the call has put its own hooks on the neurons below.
    handle = model.model.norm.register_forward_hook(wait)
    engine = Engine(model)
    thread = threading.Thread(target=lambda: ask(engine, "full"))
    thread.start()
    assert inside.wait(60)
    handle.remove()

    def work():
        clean = all(module.training for module in model.modules()) and not any(
            module._forward_hooks or module._forward_pre_hooks for module in model.modules()
        )
        return clean and all(
            np.array_equal(ask(engine, name), shift) for name, shift in expected.items()
        )

    try:
        assert forked(work) == 0
    finally:
        go_on.set()
        thread.join()
    assert not any(module._forward_hooks for module in model.modules())
    np.testing.assert_array_equal(ask(engine, method), expected[method])
