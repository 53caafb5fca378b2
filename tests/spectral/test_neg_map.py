"""NEG of every neuron: against sweeps, and after interruptions and damage."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import negkernel
from neurgrad import demo

FIELDS = ("neg", "pearson", "error", "neg_error", "neuron_rows", "activation", "base_logprob")


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
    least = 1e-5 * np.median(np.abs(whole.neg[:, 3]))
    np.testing.assert_allclose(whole.neg[:, 3, :40], grid.neg(), rtol=1e-3, atol=least)
    np.testing.assert_allclose(whole.pearson[:, 3, :40], grid.pearson(), atol=1e-3)
    np.testing.assert_array_equal(whole.activation[:, 3, :40], grid.activation)
    assert whole.rows / whole.activation.size <= 4


def test_rows_are_counted_by_neuron(whole):
    counted = whole.row_histogram()
    assert sum(counted.values()) == whole.activation.size
    assert sum(rows * neurons for rows, neurons in counted.items()) == whole.rows
    assert {2, 4} & set(counted)


def within(engine, facts, found, n=150, factor=1.0, **how):
    """Share of some neurons whose NEG is within a factor of what is stated of it."""
    rng = np.random.default_rng(5)
    flat = np.sort(rng.choice(engine.n_layers * engine.n_neurons, n, replace=False))
    neurons = np.stack(np.divmod(flat, engine.n_neurons), axis=1)
    shifts = np.linspace(-found.radius, found.radius, 101)
    grid = engine.sweep(*facts, neurons, shifts, **how)
    layer, index = neurons.T
    error = np.abs(found.neg[:, layer, index] - grid.neg())
    return (error <= factor * found.neg_error[:, layer, index]).mean()


CASES = {
    "post, far": {"site": "post", "axis": "signed", "radius": 10.0},
    "gate": {"site": "gate"},
    "scale": {"axis": "scale", "radius": 1.0},
    "value": {"axis": "value", "radius": 1.0},
    "every token": {"position": "all"},
}


@pytest.mark.parametrize("how", CASES.values(), ids=CASES)
def test_stated_errors_of_neg_hold(engine, how):
    one = [[5, 9, 2, 30]], [7]
    found = engine.neg_map(*one, **how)
    how = {name: value for name, value in how.items() if name != "radius"}
    assert within(engine, one, found, **how) >= 0.99


@pytest.mark.parametrize("radius", [2.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stated_errors_of_a_model_with_kinks_hold(radius, dtype):
    """Where ReLUs open along a curve, no term decays; bfloat16 operands round besides.

    They round float32 weights too, always alike: the truth is the grid of the same operands.
    """
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 400, "num_hidden_layers": 3, "vocab_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "hidden_act": "relu"}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, initializer_range=0.25)).eval()
    engine, one = negkernel.Engine(model, gemm_dtype=dtype), ([[5, 9, 2, 30]], [7])
    found = engine.neg_map(*one, radius=radius)
    factor = 1.0 if dtype == torch.float32 else 2.0
    assert within(engine, one, found, factor=factor) >= 0.99


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
