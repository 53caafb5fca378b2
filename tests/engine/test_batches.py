"""A prompt's numbers are its own: company, order, repetition and memory change nothing."""

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close

METHODS = ("delta", "suffix", "full")
# Gradients have no suffix form.
OF_GRADIENTS = {"delta": "delta", "suffix": "auto", "full": "full"}
# Another batch size is another order of summation in the matrix products, nothing else.
ROUNDING = {torch.float64: 1e-12, torch.float32: 3e-6}
# Short and long windows, and RoPE that looks at the longest prompt: where padding would show.
FAMILIES = ["llama", "llama-dynamic", "llama-longrope", "mistral-short-window", "qwen2-window"]


def equal(a, b):
    for name in ("base_logprob", "logprob_shift", "activation"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FAMILIES)
def test_together_and_alone(name, method, dtype, prompts, targets, neurons, shifts):
    engine = Engine(build(name, dtype))
    together = engine.sweep(prompts, targets, neurons, shifts, method=method)
    largest = np.abs(together.logprob_shift).max()
    for p, prompt in enumerate(prompts):
        alone = engine.sweep([prompt], [targets[p]], neurons, shifts, method=method)
        for field, scale in (("logprob_shift", largest), ("base_logprob", 5), ("activation", 5)):
            assert_close(
                getattr(together, field)[p],
                getattr(alone, field)[0],
                budget=ROUNDING[dtype],
                relative_to=scale,
                what=f"{field} of prompt {p}",
            )


@pytest.mark.parametrize("method", ["delta", "full"])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_together_and_alone(name, method, prompts, targets):
    engine = Engine(build(name))
    together = engine.gradients(prompts, targets, method=OF_GRADIENTS[method])
    for p, prompt in enumerate(prompts):
        alone = engine.gradients([prompt], [targets[p]], method=OF_GRADIENTS[method])
        largest = np.abs(alone.cg).max()
        assert_close(together.cg[p], alone.cg[0], budget=1e-11, relative_to=largest)
        assert_close(together.prob[p], alone.prob[0], budget=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_prompts(method, prompts, targets, neurons, shifts):
    engine = Engine(build("qwen2"))
    order = np.random.default_rng(1).permutation(len(prompts))
    straight = engine.sweep(prompts, targets, neurons, shifts, method=method)
    mixed = engine.sweep(
        [prompts[p] for p in order], [targets[p] for p in order], neurons, shifts, method=method
    )
    assert mixed.prompt_tokens == [prompts[p] for p in order]
    assert_close(mixed.logprob_shift, straight.logprob_shift[order], budget=1e-12)
    assert_close(mixed.base_logprob, straight.base_logprob[order], budget=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_neurons_and_shifts(method, prompts, targets, neurons, shifts):
    engine = Engine(build("llama"))
    n, j = np.random.default_rng(2).permutation(4), np.random.default_rng(3).permutation(5)
    straight = engine.sweep(prompts, targets, neurons, shifts, method=method)
    mixed = engine.sweep(prompts, targets, neurons[n], shifts[j], method=method)
    assert_close(mixed.logprob_shift, straight.logprob_shift[:, :, n][..., j], budget=1e-12)
    assert_close(mixed.activation, straight.activation[:, n], budget=0)


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_are_equal(method, prompts, targets, neurons, shifts):
    engine = Engine(build("llama"))
    twice = np.concatenate([neurons, neurons[:2]])
    sweep = engine.sweep(
        [prompts[0], prompts[2], prompts[0]], [targets[0]] * 3, twice, shifts, method=method
    )
    assert_close(sweep.logprob_shift[2], sweep.logprob_shift[0].copy(), budget=1e-12)
    assert_close(sweep.logprob_shift[:, :, 4:], sweep.logprob_shift[:, :, :2].copy(), budget=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_same_call_twice_is_bitwise_equal(method, dtype, prompts, targets, neurons, shifts):
    engine = Engine(build("llama-dynamic", dtype))
    first = engine.sweep(prompts, targets, neurons, shifts, method=method)
    engine.sweep(prompts[::-1], targets, neurons, shifts * 3, method=method)
    equal(engine.sweep(prompts, targets, neurons, shifts, method=method), first)
    gradients = engine.gradients(prompts, targets, method=OF_GRADIENTS[method])
    again = engine.gradients(prompts, targets, method=OF_GRADIENTS[method])
    np.testing.assert_array_equal(gradients.cg, again.cg)


@pytest.mark.parametrize("method", METHODS)
def test_targets_of_a_list_and_one_by_one(method, prompts, targets, neurons, shifts):
    engine = Engine(build("qwen3"))
    P, K, N, J = len(prompts), 2, len(neurons), len(shifts)
    both = engine.sweep(prompts, targets, neurons, shifts, method=method)
    assert both.logprob_shift.shape == (P, K, N, J)
    assert both.base_logprob.shape == both.target_ids.shape == (P, K)
    assert both.error.shape == both.neg().shape == (P, K, N)
    gradients = engine.gradients(prompts, targets, method=OF_GRADIENTS[method])
    assert gradients.cg.shape == (P, K, 3, 40)
    for k in range(K):
        single = [row[k] for row in targets]
        one = engine.sweep(prompts, single, neurons, shifts, method=method)
        assert one.logprob_shift.shape == (P, N, J)
        assert one.base_logprob.shape == (P,)
        assert_close(one.logprob_shift, both.logprob_shift[:, k], budget=1e-12)
        assert_close(one.base_logprob, both.base_logprob[:, k], budget=1e-12)
        alone = engine.gradients(prompts, single, method=OF_GRADIENTS[method])
        assert alone.cg.shape == (P, 3, 40)
        assert_close(alone.cg, gradients.cg[:, k], budget=1e-12)
    nested = engine.sweep(prompts, [[row[0]] for row in targets], neurons, shifts, method=method)
    assert nested.logprob_shift.shape == (P, 1, N, J)


@pytest.mark.parametrize("method", METHODS)
def test_tiny_memory_budget(method, prompts, targets, neurons, shifts):
    """One megabyte, and less than one row needs: more passes, the same numbers."""
    model = build("mistral-short-window")
    roomy = Engine(model).sweep(prompts, targets, neurons, shifts, method=method)
    grads = Engine(model).gradients(prompts, targets, method=OF_GRADIENTS[method])
    for budget in (2**20, 1):
        engine = Engine(model, memory_budget=budget)
        tight = engine.sweep(prompts, targets, neurons, shifts, method=method)
        assert_close(tight.logprob_shift, roomy.logprob_shift, budget=1e-12)
        assert_close(tight.base_logprob, roomy.base_logprob, budget=1e-12)
        assert_close(tight.activation, roomy.activation, budget=1e-12)
        again = engine.gradients(prompts, targets, method=OF_GRADIENTS[method])
        assert_close(again.cg, grads.cg, budget=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_interventions_of_mixed_kinds(method, prompts, targets):
    """Sites and axes may differ within a call, and from prompt to prompt."""
    engine = Engine(build("llama"))
    kinds = [("magnitude", "up"), ("value", "post"), ("signed", "gate"), ("magnitude", "paper")]
    lists = [
        [
            Intervention([[r % 3, p], [(r + 1) % 3, 8]], [1.0 + r, -0.5], axis=axis, site=site)
            for r, (axis, site) in enumerate(kinds[p % 3 :] + kinds[: p % 3])
        ]
        for p in range(len(prompts))
    ]
    together = engine.intervene(prompts, targets, lists, method=method)
    assert together.logprob_shift.shape == (len(prompts), 2, 4)
    for p, row in enumerate(lists):
        for r, one in enumerate(row):
            alone = engine.intervene([prompts[p]], [targets[p]], [one], method=method)
            assert_close(
                together.logprob_shift[p, :, r], alone.logprob_shift[0, :, 0], budget=1e-11
            )
    assert np.abs(together.logprob_shift).min(axis=(0, 1)).max() > 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_one_neuron_interventions_are_a_sweep(method, prompts, targets, neurons, shifts):
    engine = Engine(build("qwen2"))
    singles = [Intervention([neuron], [shift]) for neuron in neurons for shift in shifts]
    result = engine.intervene(prompts, targets, singles, method=method)
    sweep = engine.sweep(prompts, targets, neurons, shifts, method=method)
    curves = result.logprob_shift.reshape(sweep.logprob_shift.shape)
    assert_close(curves, sweep.logprob_shift, budget=1e-12)
