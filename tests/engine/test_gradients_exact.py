"""Gradients against autograd and against the slope of the sweep at zero."""

import numpy as np
import pytest
import torch
from small_models import NAMES, build

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64


@pytest.mark.parametrize("site", ["up", "gate", "post"])
@pytest.mark.parametrize("name", NAMES)
def test_against_autograd(name, site, prompts, targets):
    engine = Engine(build(name))
    with exact_float64(engine.model):
        truth = engine.gradients(prompts, targets, site=site, method="full")
        delta = engine.gradients(prompts, targets, site=site, method="delta")
    largest = np.abs(truth.cg).max(axis=(2, 3), keepdims=True)
    assert (np.abs(truth.cg).max(axis=(0, 1, 3)) > 1e-6).all(), "a layer without gradient"
    assert_close(delta.cg, truth.cg, budget=1e-9, relative_to=largest)
    assert_close(delta.prob, truth.prob, budget=1e-12)
    assert_close(delta.activation, truth.activation, budget=1e-12)


@pytest.mark.parametrize("method", ["delta", "full"])
@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_against_central_differences(site, method, prompts, targets):
    """Of the sweep by whole forwards; the step's own error is its square times p'''/6."""
    engine = Engine(build("qwen2"))
    rng = np.random.default_rng(11)
    neurons = np.stack([rng.integers(0, 3, 12), rng.integers(0, 40, 12)], axis=-1)
    step = 1e-4
    with exact_float64(engine.model):
        gradients = engine.gradients(prompts, targets, site=site, method=method)
        signed = engine.sweep(
            prompts, targets, neurons, [-step, step], axis="signed", site=site, method="full"
        )
        magnitude = engine.sweep(
            prompts, targets, neurons, [-step, step], axis="magnitude", site=site, method="full"
        )
    layer, index = neurons.T
    largest = np.abs(gradients.cg).max(axis=(2, 3), keepdims=True)[..., 0]
    cg = gradients.cg[:, :, layer, index]
    assert_close(cg, signed.neg(), budget=1e-6, relative_to=largest)
    assert np.abs(cg).max() > 1e-4
    neurgrad = gradients.neurgrad()[:, :, layer, index]
    assert_close(neurgrad, magnitude.neg(), budget=1e-6, relative_to=largest)
    assert (np.sign(neurgrad) != np.sign(cg)).any(), "no negative activation: nothing told apart"


def test_gradients_of_all_tokens_sum_to_zero(prompts):
    """Probabilities of the whole vocabulary sum to one, whatever a neuron does."""
    engine = Engine(build("llama"))
    every = [list(range(101)) for _ in prompts]
    gradients = engine.gradients(prompts, every, method="delta")
    assert_close(gradients.prob.sum(axis=1), np.ones(len(prompts)), budget=1e-12)
    assert_close(gradients.cg.sum(axis=1), np.zeros((len(prompts), 3, 40)), budget=1e-12)


def test_shared_prefixes_are_prefilled_once(monkeypatch):
    """A few-shot preamble of many prompts passes through the embedding once."""
    model = build("llama")
    preamble = np.random.default_rng(0).integers(0, 101, 25).tolist()
    prompts = [[*preamble, 100 - p, p] for p in range(7)]
    seen = []
    embed = torch.nn.functional.embedding

    def counting(ids, *args, **kwargs):
        seen.append(ids.numel())
        return embed(ids, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "embedding", counting)
    Engine(model).gradients(prompts, [5] * 7, method="delta", check=False)
    assert sum(seen) == 25 + 7 * 2
