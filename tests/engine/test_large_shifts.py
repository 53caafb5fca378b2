"""Shifts of +-50 and thousands of neurons at once: where naive differences overflow or cancel."""

import numpy as np
import pytest
import torch
from small_models import build, float64_copy

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

SHIFTS = np.array([-50.0, -10.0, 10.0, 50.0])
# Float32 rounding of a hidden state that has moved by 50, relative to the largest change.
FLOAT32 = 2e-5


def truth_of(model, call):
    with exact_float64(float64_copy(model)) as exact:
        return call(Engine(exact), "full").logprob_shift


def confident(name, prompts, dtype):
    """A model that gives its likeliest token nearly all of the mass, and those tokens."""
    model = build(name, torch.float64, seed=1)
    with torch.no_grad():
        model.lm_head.weight *= 12
        best = [int(model(torch.tensor([prompt])).logits[0, -1].argmax()) for prompt in prompts]
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model, best


@pytest.mark.parametrize("site", ["up", "gate", "post"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_float64(name, site, prompts, targets, neurons):
    engine = Engine(build(name))
    with exact_float64(engine.model):
        results = {
            method: engine.sweep(prompts, targets, neurons, SHIFTS, site=site, method=method)
            for method in ("full", "suffix", "delta")
        }
    truth = results["full"].logprob_shift
    for method in ("suffix", "delta"):
        change = results[method].logprob_shift
        assert_close(change, truth, budget=1e-9, relative_to=np.abs(truth).max(), what=method)


@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_float32_where_the_target_loses_its_mass(site, prompts, neurons):
    model, best = confident("llama", prompts, torch.float32)

    def call(engine, method):
        return engine.sweep(prompts, best, neurons, SHIFTS, site=site, method=method)

    truth = truth_of(model, call)
    delta = call(Engine(model), "delta")
    assert (delta.base_logprob > -0.1).any(), "no target starts near certainty"
    assert truth.min() < -20, "no target loses its mass"
    assert_close(delta.logprob_shift, truth, budget=FLOAT32, relative_to=np.abs(truth).max())
    # p(target) is a probability however far the shift went.
    prob = np.exp(delta.base_logprob)[..., None, None] + delta.prob_shift()
    assert (np.isfinite(prob) & (prob > -1e-6) & (prob < 1 + 1e-6)).all()


@pytest.mark.parametrize("axis", ["magnitude", "signed", "scale", "value"])
def test_float32_on_every_axis(axis, prompts, targets, neurons):
    model = build("qwen3", torch.float32)

    def call(engine, method):
        return engine.sweep(prompts, targets, neurons, SHIFTS, axis=axis, method=method)

    truth = truth_of(model, call)
    change = call(Engine(model), "delta").logprob_shift
    assert_close(change, truth, budget=FLOAT32, relative_to=np.abs(truth).max())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_4096_neurons_at_once(site, dtype, prompts, targets):
    model = build("llama", dtype, intermediate_size=2048)
    every = np.stack(np.divmod(np.arange(3 * 2048), 2048), axis=-1)
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(every)[:4096] for _ in range(3)]
    amounts = [size * rng.choice([-1.0, 1.0], 4096) for size in (1e-3, 0.5, 50.0)]
    shifts = [
        Intervention(one, amount, site=site) for one, amount in zip(chosen, amounts, strict=True)
    ]

    def call(engine, method):
        return engine.intervene(prompts, targets, shifts, method=method)

    truth = truth_of(model, call)
    assert np.isfinite(truth).all()
    largest = np.abs(truth).max(axis=(0, 1))
    if dtype == torch.float64:
        with exact_float64(model):
            change = call(Engine(model), "delta").logprob_shift
        assert_close(change, truth, budget=1e-9, relative_to=largest)
    else:
        # Thousands of float32 activations that follow one another through the layers, each on its
        # own side of zero: the budget of one neuron, ten times.
        change = call(Engine(model), "delta").logprob_shift
        assert_close(change, truth, budget=10 * FLOAT32, relative_to=largest)
