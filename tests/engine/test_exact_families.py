"""Delta and suffix against one whole forward per row, in true float64, for every family."""

import numpy as np
import pytest
import torch
from small_models import NAMES, build

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

# Float64 rounding through a few layers; the bound. What is measured is 1e-14.
BUDGET = 1e-9


def assert_sweeps_agree(engine, arguments, options):
    """Compare the three methods and return the oracle's sweep."""
    with exact_float64(engine.model):
        truth = engine.sweep(*arguments, method="full", **options)
        largest = np.abs(truth.logprob_shift).max()
        for method in ("delta", "suffix"):
            sweep = engine.sweep(*arguments, method=method, **options)
            assert sweep.method == method
            for name, scale in (("logprob_shift", largest), ("base_logprob", 1), ("activation", 1)):
                assert_close(
                    getattr(sweep, name),
                    getattr(truth, name),
                    budget=BUDGET,
                    relative_to=scale,
                    what=f"{method} {name}",
                )
    return truth


@pytest.mark.parametrize("site", ["up", "gate", "post"])
@pytest.mark.parametrize("name", NAMES)
def test_sweep(name, site, prompts, targets, neurons, shifts):
    engine = Engine(build(name))
    truth = assert_sweeps_agree(engine, (prompts, targets, neurons, shifts), {"site": site})
    largest = np.abs(truth.logprob_shift).max(axis=(0, 1, 3))
    assert (largest > 1e-3).all(), "a neuron without effect tests nothing"
    assert np.isfinite(truth.logprob_shift).all()


@pytest.mark.parametrize("axis", ["magnitude", "signed", "scale", "value"])
@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_axes(site, axis, prompts, targets, neurons, shifts):
    engine = Engine(build("qwen3"))
    options = {"site": site, "axis": axis}
    assert_sweeps_agree(engine, (prompts, targets, neurons, shifts), options)


def test_neurons_of_each_prompt(prompts, targets, shifts):
    rng = np.random.default_rng(3)
    per_prompt = np.stack(
        [rng.integers(0, 3, (len(prompts), 6)), rng.integers(0, 40, (len(prompts), 6))], axis=-1
    )
    engine = Engine(build("llama"))
    together = assert_sweeps_agree(engine, (prompts, targets, per_prompt, shifts), {})
    with exact_float64(engine.model):
        for p, prompt in enumerate(prompts):
            own = engine.sweep([prompt], [targets[p]], per_prompt[p], shifts, method="full")
            np.testing.assert_array_equal(together.logprob_shift[p], own.logprob_shift[0])


@pytest.mark.parametrize("name", ["llama-dynamic", "llama-longrope"])
def test_a_model_that_has_seen_a_long_prompt(name, prompts, targets, neurons, shifts):
    """RoPE variants that remember the longest position start from the user's own state."""
    model = build(name)
    with torch.no_grad():
        model(torch.arange(1, 25)[None])
    assert_sweeps_agree(Engine(model), (prompts, targets, neurons, shifts), {})


@pytest.mark.parametrize("name", ["llama-yarn", "mistral-short-window", "qwen2", "qwen3"])
def test_unpatched_model_within_its_own_noise(name, prompts, targets, neurons, shifts):
    """Hugging Face rounds norms to float32: 2e-5 of the largest shift is what that can cost."""
    engine = Engine(build(name))
    arguments = prompts, targets, neurons, shifts
    truth = engine.sweep(*arguments, method="full").logprob_shift
    delta = engine.sweep(*arguments, method="delta").logprob_shift
    assert_close(delta, truth, budget=2e-5, relative_to=np.abs(truth).max())
