"""Batches of mixed prompts give each prompt what it gets alone, whatever the memory budget."""

import numpy as np
import pytest
from masked_models import engine, some_neurons

from negkernel import Intervention

CASES = ["bert", "roberta", "modernbert-short-window"]


@pytest.mark.parametrize("case", CASES)
def test_a_mixed_batch_equals_prompts_one_by_one(case, prompts, targets, shifts):
    e = engine(case)
    neurons = some_neurons(e)
    together = e.sweep(prompts, targets, neurons, shifts)
    gradients = e.gradients(prompts, targets)
    for p in range(len(prompts)):
        alone = e.sweep([prompts[p]], [targets[p]], neurons, shifts)
        np.testing.assert_allclose(
            together.logprob_shift[p], alone.logprob_shift[0], rtol=0, atol=1e-13
        )
        np.testing.assert_allclose(together.base_logprob[p], alone.base_logprob[0], atol=1e-13)
        np.testing.assert_allclose(together.activation[p], alone.activation[0], atol=1e-13)
        grads = e.gradients([prompts[p]], [targets[p]])
        np.testing.assert_allclose(gradients.cg[p], grads.cg[0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(gradients.prob[p], grads.prob[0], atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_neurons_and_interventions_of_each_prompt_stay_with_it(case, prompts, targets, shifts):
    e = engine(case)
    own = np.stack([some_neurons(e) + np.array([0, p]) for p in range(len(prompts))])
    sweep = e.sweep(prompts, targets, own, shifts)
    lists = [
        [Intervention([neuron], [amount]) for neuron in own[p] for amount in shifts]
        for p in range(len(prompts))
    ]
    result = e.intervene(prompts, targets, lists)
    flat = sweep.logprob_shift.reshape(len(prompts), 2, -1)
    np.testing.assert_allclose(result.logprob_shift, flat, rtol=0, atol=1e-13)


def test_memory_budget_changes_nothing(prompts, targets, shifts):
    small, large = engine("bert", memory_budget=200_000), engine("bert")
    neurons = some_neurons(large)
    np.testing.assert_allclose(
        small.sweep(prompts, targets, neurons, shifts).logprob_shift,
        large.sweep(prompts, targets, neurons, shifts).logprob_shift,
        rtol=0,
        atol=1e-13,
    )
    many = [list(range(5, 95))] * len(prompts)
    np.testing.assert_allclose(
        small.gradients(prompts, many).cg, large.gradients(prompts, many).cg, rtol=0, atol=1e-14
    )


def test_one_target_drops_the_axis(prompts, targets, shifts):
    e = engine("bert")
    single = e.sweep(prompts, [t[1] for t in targets], some_neurons(e), shifts)
    double = e.sweep(prompts, targets, some_neurons(e), shifts)
    np.testing.assert_allclose(single.logprob_shift, double.logprob_shift[:, 1], atol=1e-13)
