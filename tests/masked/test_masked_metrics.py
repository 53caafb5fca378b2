"""KL, rank and flips of masked models: the difference form against whole forwards."""

import numpy as np
import pytest
from masked_models import CASES, engine, some_neurons

from negkernel.testing.exact import exact_float64

METRICS = ("logprob", "logit_diff", "kl", "rank")


@pytest.mark.parametrize("case", CASES)
def test_readings_equal_those_of_whole_forwards(case, prompts, targets):
    e = engine(case)
    neurons, shifts = some_neurons(e), np.array([-60.0, -2.0, -0.01, 0.0, 0.01, 2.0, 60.0])
    with exact_float64(e.model):
        full, delta = (
            e.sweep(prompts, targets, neurons, shifts, metrics=METRICS, method=method)
            for method in ("full", "delta")
        )
    assert full.kl.max() > 1e-3
    assert np.ptp(full.rank) > 0
    # Sums over the vocabulary in float64, of logits that move by at most some ten nats.
    np.testing.assert_allclose(delta.kl, full.kl, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(delta.logit_diff, full.logit_diff, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(delta.logprob_shift, full.logprob_shift, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(delta.rank, full.rank)
    np.testing.assert_array_equal(delta.top_changed, full.top_changed)


def test_log_probs_do_not_depend_on_what_else_is_read(prompts, targets, shifts):
    e = engine("bert")
    neurons = some_neurons(e)
    alone = e.sweep(prompts, targets, neurons, shifts)
    read = e.sweep(prompts, targets, neurons, shifts, metrics=METRICS)
    np.testing.assert_allclose(read.logprob_shift, alone.logprob_shift, rtol=1e-9, atol=1e-13)
    assert read.method == "delta"
