"""Heads and directions that mean nothing: one clear line each, before anything runs."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from negkernel import Directions, Engine, Intervention

PROMPTS, TARGETS = [[1, 2, 3]], [4]
V = np.ones((1, 32))


@pytest.fixture(scope="module")
def engine():
    sizes = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=50, num_attention_heads=4, num_key_value_heads=2, **sizes)
    return Engine(LlamaForCausalLM(config).eval())


def shift_heads(engine, heads=((0, 1),), shifts=(-1.0,), **how):
    how = {"axis": "scale", "site": "head"} | how
    return engine.sweep(PROMPTS, TARGETS, np.array(heads), shifts, **how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"heads": [[0, 4]]}, r"^head \(0, 4\): head index 4 is out of range; expected 0 <= head"),
        ({"heads": [[9, 0]]}, r"^head \(9, 0\): layer 9 is out of range"),
        ({"heads": [[0, -1]]}, "out of range"),
        ({"axis": "magnitude"}, "axis 'magnitude' is not defined for site 'head'.*axis='scale'"),
        ({"axis": "signed"}, "axis 'signed' is not defined for site 'head'"),
        ({"axis": "mean_ablation", "shifts": None}, "axis 'mean_ablation' is not defined"),
        ({"axis": "value", "shifts": [0.0, 2.0]}, "axis 'value' puts 2 .*expected 0"),
        ({"site": "heads"}, "site 'heads' is not a tensor.*or 'head'"),
    ],
)
def test_heads(engine, how, message):
    with pytest.raises(ValueError, match=message) as raised:
        shift_heads(engine, **how)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0, np.ones((1, 31))), "directions have 31 numbers each; expected .* hidden size 32"),
        ((0, np.zeros((1, 32))), "direction 0 is all zeros"),
        ((0, V * np.nan), "NaN or infinity"),
        ((0, V * 1e300), "cannot compute with"),
        ((0, V * 1e-30), "cannot compute with"),
        ((0, V[0]), r"vectors of shape \[32\]; expected \[N, H\]"),
        ((7, V), "direction 0: layer 7 is out of range; expected 0 <= layer < "),
        ((-1, V), "direction 0: layer -1 is out of range"),
        (([0, 1], V), r"1 directions have layers of shape \[2\]"),
        ((0, V, "mlp"), "at 'mlp'.*'residual'"),
        ((0.5, V), "must be integers"),
    ],
)
def test_directions(engine, given, message):
    with pytest.raises(ValueError, match=message) as raised:
        engine.sweep(PROMPTS, TARGETS, Directions(*given), [1.0])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda e, d: e.sweep(PROMPTS, TARGETS, d, [1.0], site="up"), "site is 'up'.*at="),
        (lambda e, d: e.gradients(PROMPTS, TARGETS, [[0, 1]]), "negkernel.Directions; got list"),
        (lambda e, d: e.patch(PROMPTS, PROMPTS, TARGETS, d), "patches give neurons"),
        (lambda e, d: e.patch(PROMPTS, PROMPTS, TARGETS, site="head"), "patches give neurons"),
        (lambda e, d: e.path_gradients(PROMPTS, TARGETS, [0.5], site="head"), "path gradients"),
        (lambda e, d: Intervention(d, [1.0], site="up"), "directions has site 'up'"),
        (lambda e, d: Intervention(d, [1.0, 2.0]), "has 1 neurons but amounts"),
        (lambda e, d: Intervention(d, [1.0], signs="baseline"), "of the magnitude axis"),
        (
            lambda e, d: e.intervene(
                PROMPTS, TARGETS, [Intervention([[0, 1]], [1.0], site="head")]
            ),
            "axis 'magnitude' is not defined for site 'head'",
        ),
        (
            lambda e, d: e.neg_map(PROMPTS, TARGETS, site="head"),
            "axis 'magnitude' is not defined for site 'head'",
        ),
    ],
)
def test_questions(engine, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(engine, Directions(0, V))


def test_what_a_layer_does_not_have():
    """A layer's MLP output cannot be told where experts are mixed, heads not under other names."""
    sizes = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 2}
    engine = Engine(MixtralForCausalLM(MixtralConfig(vocab_size=50, **sizes)).eval())
    with pytest.raises(NotImplementedError, match=r"has no 'mlp_out'.*at='residual'"):
        engine.sweep(PROMPTS, TARGETS, Directions(1, V, "mlp_out"), [1.0])
    residual = engine.sweep(PROMPTS, TARGETS, Directions(1, V), [1.0])
    assert residual.method in ("generic", "suffix", "full")
    for layer in engine.model.model.layers:
        layer.self_attn.out = layer.self_attn.o_proj
        del layer.self_attn.o_proj
    with pytest.raises(NotImplementedError, match="is not known, so that its heads"):
        shift_heads(engine)


def test_plan_and_predictions(engine):
    vectors = np.random.default_rng(0).normal(size=(3, 32))
    given = Directions([0, 1, 1], vectors, at="mlp_out")
    plan = engine.plan(PROMPTS, TARGETS, given, [1.0, 2.0])
    assert plan.rows == 6
    assert engine.plan(PROMPTS, TARGETS, [[0, 1]], [-1.0], site="head", axis="scale").rows == 1
    several = [
        Intervention(given, [1e-4, -2e-4, 1e-4]),
        Intervention(given.take([2]), [1e-4]),
        Intervention([[0, 1], [1, 3]], [1e-4, 1e-4], axis="scale", site="head"),
    ]
    found = engine.intervene(PROMPTS, TARGETS, several)
    np.testing.assert_allclose(found.predicted, found.prob_shift(), rtol=2e-2)
    assert found.top_answers(1)[0][0][0][1] > 0
    with pytest.raises(NotImplementedError, match="predicted"):
        engine.gradients(PROMPTS, TARGETS, given).predict(several[0])


def test_files_and_copies(engine, tmp_path):
    given = Directions([0, 1], torch.randn(2, 32), at="attention_out")
    slopes = engine.gradients(PROMPTS, TARGETS, given)
    slopes.save(tmp_path / "slopes")
    again = type(slopes).load(tmp_path / "slopes")
    np.testing.assert_array_equal(again.cg, slopes.cg)
    neurons, scores = slopes.top(1)
    assert abs(scores[0, 0]) == np.abs(slopes.cg).max()
    assert neurons.shape == (1, 1, 2)
