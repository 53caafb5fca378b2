"""A weight that is NaN or infinite is named; no answer is made of it."""

import pytest
import torch
from small_models import build

from negkernel import Engine, Intervention

ONE = ([[1, 2, 3]], [4])
QUESTIONS = {
    "sweep": lambda engine, **how: engine.sweep(*ONE, [[0, 1]], [1.0], **how),
    "spectral": lambda engine, **how: engine.sweep(
        *ONE, [[0, 1]], [-1.0, 1.0], resolution="spectral", **how
    ),
    "full": lambda engine, **how: engine.sweep(*ONE, [[0, 1]], [1.0], method="full", **how),
    "neg_map": lambda engine, **how: engine.neg_map(*ONE, **how),
    "intervene": lambda engine, **how: engine.intervene(
        *ONE, [Intervention([[0, 1]], [1.0])], **how
    ),
    "gradients": lambda engine, **how: engine.gradients(*ONE, **how),
    "log gradients": lambda engine, **how: engine.gradients(*ONE, log=True, **how),
    "path_gradients": lambda engine, **how: engine.path_gradients(*ONE, [1.0], **how),
    "direct_effects": lambda engine, **how: engine.direct_effects(*ONE),
    "rank": lambda engine, **how: engine.rank(*ONE),
}


def broken(value, name="model.layers.1.mlp.down_proj.weight"):
    model = build("llama", torch.float32)
    with torch.no_grad():
        model.get_parameter(name)[2, 1] = value
    return Engine(model)


@pytest.mark.parametrize("check", ["once", False])
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_every_question_names_the_weight(ask, check):
    with pytest.raises(
        ValueError, match=r"weight model\.layers\.1\.mlp\.down_proj\.weight holds N"
    ):
        ask(broken(float("nan")), check=check)


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_infinite_weights_alike(value):
    with pytest.raises(
        ValueError, match=r"down_proj\.weight holds NaN or infinity.*expected finite"
    ):
        broken(value).rank(*ONE)


def test_a_token_that_no_prompt_holds_harms_nothing():
    engine = broken(float("nan"), "model.embed_tokens.weight")  # token 2
    assert engine.rank([[1, 3]], [4]).shape == (1,)
    with pytest.raises(ValueError, match=r"model\.embed_tokens\.weight holds NaN"):
        engine.sweep([[1, 3], [1, 2]], [4, 4], [[0, 1]], [1.0])


def test_activations_that_overflow_are_told_apart():
    model = build("llama", torch.float32).half()
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.fill_(6e4)
    with pytest.raises(ValueError, match=r"although its weights are: activations overflow float16"):
        Engine(model).rank(*ONE)
