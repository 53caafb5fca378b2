"""Calls do not see each other, nor the modes of torch that are on around them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine

IDS, TARGETS = [[5, 9, 2, 17], [7, 8]], [3, 4]
NEURONS = [[0, 1], [1, 5], [2, 30]]
SHIFTS = [-2.0, 1.0]


def ask(engine, method):
    sweep = engine.sweep(IDS, TARGETS, NEURONS, SHIFTS, method=method)
    method = "auto" if method == "suffix" else method  # gradients have no suffix form
    gradients = engine.gradients(IDS, TARGETS, method=method)
    path = engine.path_gradients(IDS, TARGETS, [0.5, 1.0], method=method)
    return [sweep.logprob_shift, gradients.cg, path.cg]


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("method", ["delta", "suffix", "full"])
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_modes_around_a_call_change_nothing(mode, method):
    engine = Engine(build("llama", torch.float32))
    expected = ask(engine, method)
    with mode():
        found = ask(engine, method)
        streamed = [step.cg.clone() for step in engine.stream_gradients(IDS, TARGETS)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    plain = [step.cg for step in engine.stream_gradients(IDS, TARGETS)]
    for x, y in zip(streamed, plain, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_threads_take_turns():
    """Two engines of one model, as hooks are the model's: without turns shifts would mix."""
    model = build("llama", torch.float32)
    methods = ["full", "suffix", "full", "delta"]
    expected = {method: ask(Engine(model), method) for method in set(methods)}

    def work(method):
        engine = Engine(model)
        return [ask(engine, method) for _ in range(5)]

    with ThreadPoolExecutor(len(methods)) as pool:
        for method, answers in zip(methods, pool.map(work, methods), strict=True):
            for answer in answers:
                for a, b in zip(answer, expected[method], strict=True):
                    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["delta", "suffix", "full"])
def test_a_model_that_was_changed_is_seen_as_it_is(method):
    model = build("llama", torch.float32)
    engine = Engine(model)
    ask(engine, method)
    mlp = model.model.layers[1].mlp
    mlp.up_proj = torch.nn.Linear(mlp.up_proj.in_features, mlp.up_proj.out_features)
    model.double()
    model.model.layers = model.model.layers[:2]
    model.config.num_hidden_layers = 2
    assert engine.n_layers == 2
    changed, fresh = (
        one.sweep(IDS, TARGETS, NEURONS[:2], SHIFTS, method=method)
        for one in (engine, Engine(model))
    )
    assert changed.logprob_shift.dtype == np.float64
    assert (np.abs(changed.logprob_shift) > 1e-6).any(axis=(0, 2)).all()
    np.testing.assert_array_equal(changed.logprob_shift, fresh.logprob_shift)
    np.testing.assert_array_equal(changed.activation, fresh.activation)
