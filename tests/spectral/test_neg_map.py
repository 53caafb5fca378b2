"""NEG of every neuron: against sweeps, and after interruptions and damage."""

import numpy as np
import pytest

import negkernel
from neurgrad import demo

FIELDS = ("neg", "pearson", "error", "activation", "base_logprob")


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(2, random_state=1)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


@pytest.fixture(scope="module")
def whole(engine, facts):
    return engine.neg_map(*facts)


def test_a_map_is_the_paper_s_grid_for_all_neurons(engine, facts, whole):
    neurons = np.stack([np.full(40, 3), np.arange(40)], axis=1)
    grid = engine.sweep(*facts, neurons, np.linspace(-2, 2, 101))
    assert whole.neg.shape == (2, engine.n_layers, engine.n_neurons)
    np.testing.assert_allclose(whole.neg[:, 3, :40], grid.neg(), rtol=1e-3)
    np.testing.assert_allclose(whole.pearson[:, 3, :40], grid.pearson(), atol=1e-3)
    np.testing.assert_array_equal(whole.activation[:, 3, :40], grid.activation)
    assert whole.rows / whole.activation.size <= 5


def test_a_map_is_saved_and_listed(whole, tmp_path):
    whole.save(tmp_path / "map")
    read = negkernel.NegMap.load(tmp_path / "map")
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(read, name), getattr(whole, name))
    frame = whole.to_frame()
    assert len(frame) == whole.neg.size
    np.testing.assert_array_equal(frame["neg"], whole.neg.ravel())


def test_several_targets(engine, facts, whole):
    prompts, targets = facts
    found = engine.neg_map(prompts[:1], [targets])
    assert found.neg.shape == (1, 2, engine.n_layers, engine.n_neurons)
    strong = np.abs(whole.neg[0]) > 1e-5
    np.testing.assert_allclose(found.neg[0, 0][strong], whole.neg[0][strong], rtol=2e-3)


def test_a_bad_radius_is_refused(engine, facts):
    with pytest.raises(ValueError, match="radius is -1"):
        engine.neg_map(*facts, radius=-1)
