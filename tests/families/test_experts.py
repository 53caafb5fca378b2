"""Mixtures of experts: auto takes generic, and a neuron of a routed expert is what it says."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from decoder_cases import build

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

_SIZES = {"hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8}
_ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10}
MODELS = {
    "mixtral": _SIZES
    | {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 10}
    | {"sliding_window": 4},
    "qwen3_moe": _SIZES | _ROUTED,
    "olmoe": _SIZES | {"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 10},
    "qwen2_moe": _SIZES | _ROUTED | {"shared_expert_intermediate_size": 40},
}
ROUTED = ["mixtral", "qwen3_moe", "olmoe"]
N_EXPERTS, PER_EXPERT = 4, 10

PROMPTS = [[1, 5, 6, 7, 9], [3], [1, 5, 6, 8, 8, 2, 1, 4]]
TARGETS = [[7, 80], [8, 81], [9, 82]]
# Some neurons of each expert in a middle layer, whichever the router takes.
NEURONS = np.array([[1, i] for i in range(0, 40, 3)] + [[3, 5], [0, 39]])
SHIFTS = np.array([-2.0, 0.5, 2.0])


def engine_of(name):
    model = build(name, MODELS[name])
    model.set_experts_implementation("eager")  # the grouped one has no float64
    return Engine(model)


@pytest.fixture(params=MODELS)
def engine(request):
    return engine_of(request.param)


def test_auto_takes_generic_and_says_why(engine, caplog):
    with caplog.at_level(logging.INFO, logger="negkernel"):
        sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method == "generic"
    assert "method generic" in caplog.text
    assert engine.model.config.model_type in caplog.text
    with pytest.raises(NotImplementedError, match="suffix"):
        engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")


@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_suffix_is_full(engine, site):
    with exact_float64(engine.model):
        truth = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, site=site, method="full")
        ours = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, site=site, method="suffix")
    largest = np.abs(truth.logprob_shift).max()
    assert largest > 1e-2
    # The router's softmax is float32 in the oracle: its last digit may fall either way.
    for field in ("logprob_shift", "base_logprob", "activation"):
        assert_close(
            getattr(ours, field), getattr(truth, field), budget=1e-6, relative_to=max(largest, 1.0)
        )


@pytest.mark.parametrize("name", ROUTED)
@pytest.mark.parametrize("site", ["up", "post"])
def test_ablation_is_a_zeroed_weight(name, site):
    """With a prompt of one token, taking a neuron away is clearing its row or column."""
    engine = engine_of(name)
    layer, prompt = 2, [5]
    neurons = [[layer, i] for i in range(N_EXPERTS * PER_EXPERT)]
    options = {"axis": "value", "site": site}
    sweep = engine.sweep([prompt], [7], neurons, [0.0], **options)
    experts = engine.model.model.layers[layer].mlp.experts
    matrix = experts.down_proj if site == "post" else experts.gate_up_proj
    for i in range(0, N_EXPERTS * PER_EXPERT, 3):
        expert, neuron = divmod(i, PER_EXPERT)
        at = (expert, slice(None), neuron) if site == "post" else (expert, PER_EXPERT + neuron)
        with torch.no_grad():
            kept = matrix[at].clone()
            matrix[at] = 0
            logits = engine.model(torch.tensor([prompt])).logits[0, -1]
            matrix[at] = kept
        moved = torch.log_softmax(logits, -1)[7].item() - sweep.base_logprob[0]
        assert_close(sweep.logprob_shift[0, i, 0], moved, budget=1e-6)


@pytest.mark.parametrize("name", ROUTED)
def test_experts_the_router_left_out_are_still(name):
    engine = engine_of(name)
    neurons = [[1, i] for i in range(N_EXPERTS * PER_EXPERT)]
    sweep = engine.sweep(PROMPTS, [7, 8, 9], neurons, SHIFTS, axis="signed")
    shape = len(PROMPTS), N_EXPERTS, PER_EXPERT
    active = (sweep.activation.reshape(shape) != 0).any(-1)
    np.testing.assert_array_equal(active.sum(1), 2)
    moved = np.abs(sweep.logprob_shift).max(-1).reshape(shape).max(-1)
    assert (moved[active] > 1e-3).all()
    assert (moved[~active] < 1e-12).all()


@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_gradients_are_slopes(engine, site):
    step = 1e-2
    with exact_float64(engine.model):
        gradients = engine.gradients(PROMPTS, TARGETS, site=site)
        sweep = engine.sweep(
            PROMPTS, TARGETS, NEURONS, [-step, step], axis="signed", site=site, method="full"
        )
    change = sweep.prob_shift()
    slope = (change[..., 1] - change[..., 0]) / (2 * step)
    cg = gradients.cg[:, :, NEURONS[:, 0], NEURONS[:, 1]]
    # The step's square, and the router's float32 digits over the step.
    assert_close(cg, slope, budget=1e-3, relative_to=np.abs(slope).max())


def test_the_model_comes_back_as_it_was():
    engine = engine_of("mixtral")
    experts = [layer.mlp.experts for layer in engine.model.model.layers]
    engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert all("forward" not in vars(module) for module in experts)


def test_experts_that_compute_something_else_are_refused():
    engine = engine_of("mixtral")
    experts = engine.model.model.layers[1].mlp.experts

    class Doubled(type(experts)):
        def forward(self, *args):
            return 2 * super().forward(*args)

    experts.__class__ = Doubled
    with pytest.raises(NotImplementedError, match="computes something else"):
        engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="full")
    assert "forward" not in vars(experts)


def test_a_replaced_forward_is_refused():
    engine = engine_of("mixtral")
    experts = engine.model.model.layers[1].mlp.experts
    experts.forward = lambda *args: 2 * type(experts).forward(experts, *args)
    with pytest.raises(NotImplementedError, match="has been replaced"):
        engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="full")
