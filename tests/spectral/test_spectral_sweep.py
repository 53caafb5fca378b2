"""The spectral sweep of the embedded model against its own grid, and against float64."""

import numpy as np
import pytest

from neurgrad import demo

N = 60


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(3, random_state=0)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


@pytest.fixture(scope="module")
def exact():
    engine = demo.load("causal")
    engine.model.double()
    return engine


@pytest.fixture(scope="module")
def neurons(engine):
    flat = np.random.default_rng(0).choice(engine.n_layers * engine.n_neurons, N, replace=False)
    return np.stack(np.divmod(flat, engine.n_neurons), axis=-1)


@pytest.mark.parametrize("radius", [2, 10])
@pytest.mark.parametrize("axis", ["magnitude", "signed", "scale", "value"])
def test_curves_and_neg_are_within_the_tolerance(engine, exact, facts, neurons, axis, radius):
    shifts = np.linspace(-radius, radius, 101)
    found = engine.sweep(*facts, neurons, shifts, axis=axis, resolution="spectral")
    grid = engine.sweep(*facts, neurons, shifts, axis=axis)
    truth = exact.sweep(*facts, neurons, found.shifts, axis=axis).logprob_shift

    np.testing.assert_array_equal(found.shifts, grid.shifts)
    np.testing.assert_array_equal(found.activation, grid.activation)
    np.testing.assert_allclose(found.base_logprob, grid.base_logprob, rtol=1e-6)
    error = np.abs(found.logprob_shift - truth).max(-1)
    assert (error <= found.error).mean() >= 0.999
    assert (found.error <= 2e-3 * np.abs(truth).max(-1)).mean() >= 0.9
    relative = np.abs(found.neg() - grid.neg()) / np.abs(grid.neg())
    assert (relative <= 1e-3).mean() >= 0.999
    assert found.resolution == "spectral"
    assert found.rows < 0.15 * grid.rows


def test_rows_at_the_paper_s_range(engine, facts, neurons):
    found = engine.sweep(*facts, neurons, np.linspace(-2, 2, 101), resolution="spectral")
    assert found.rows / found.activation.size <= 5


def test_a_zero_shift_and_shifts_in_any_order(engine, facts, neurons):
    shifts = np.array([0.5, 0.0, -2.0, 1.5, -1.0, 2.0, 0.25, -0.75])
    found = engine.sweep(*facts, neurons, shifts, resolution="spectral")
    grid = engine.sweep(*facts, neurons, shifts)
    assert not found.logprob_shift[..., 1].any()
    height = np.abs(grid.logprob_shift).max(-1, keepdims=True)
    assert (np.abs(found.logprob_shift - grid.logprob_shift) <= 2e-3 * height).all()


def test_several_targets_and_neurons_of_each_prompt(engine, facts, neurons):
    prompts, targets = facts
    own = np.stack([neurons, neurons[::-1], np.roll(neurons, 5, axis=0)])
    pairs = [[targets[0], targets[1]]] * 3
    shifts = np.linspace(-1, 1, 41)
    found = engine.sweep(prompts, pairs, own, shifts, resolution="spectral")
    grid = engine.sweep(prompts, pairs, own, shifts)
    assert found.error.shape == (3, 2, N)
    height = np.abs(grid.logprob_shift).max(-1, keepdims=True)
    assert (np.abs(found.logprob_shift - grid.logprob_shift) <= 2e-3 * height).all()


def test_the_model_s_own_forward_says_how_noisy_it_is(engine, exact, facts, neurons):
    prompts, targets = [one[:1] for one in facts]
    shifts = np.linspace(-2, 2, 101)
    found = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral", method="suffix")
    truth = exact.sweep(prompts, targets, neurons, found.shifts).logprob_shift
    error = np.abs(found.logprob_shift - truth).max(-1)
    assert (error <= found.error).mean() >= 0.99


def test_a_masked_model(neurons):
    engine = demo.load("masked")
    table = demo.prompts("masked").sample(1, random_state=0)
    request = table["prompt"].tolist(), table["answer"].tolist(), neurons[:12] % [4, 256]
    shifts = np.linspace(-2, 2, 41)
    found = engine.sweep(*request, shifts, resolution="spectral")
    grid = engine.sweep(*request, shifts)
    height = np.abs(grid.logprob_shift).max(-1, keepdims=True)
    assert (np.abs(found.logprob_shift - grid.logprob_shift) <= 2e-3 * height).all()
    assert found.rows < 0.3 * grid.rows


def test_a_base_log_prob_whose_probability_underflows(facts, neurons):
    engine = demo.load("causal")
    engine.model.model.norm.weight.data *= 30
    unlikely = facts[0][:1], ["Paris"]
    shifts = np.linspace(-1, 1, 5)
    found = engine.sweep(*unlikely, neurons[:2], shifts, resolution="spectral", method="suffix")
    grid = engine.sweep(*unlikely, neurons[:2], shifts, method="suffix")
    assert grid.base_logprob < np.log(np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(found.base_logprob, grid.base_logprob)


def test_bad_options_are_refused(engine, facts, neurons):
    with pytest.raises(ValueError, match="'grid' or 'spectral'"):
        engine.sweep(*facts, neurons, [1.0], resolution="fine")
    with pytest.raises(ValueError, match="tol is 0"):
        engine.sweep(*facts, neurons, [1.0], resolution="spectral", tol=0)
