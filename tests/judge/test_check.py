"""What the check costs, when it is made again, and what `check=` says."""

import logging

import numpy as np
import pytest
import torch
from plain_forwards import NEURONS, PROMPTS, SHIFTS, TARGETS, Ids, bert, llama

from negkernel import Engine


@pytest.fixture
def counted(monkeypatch):
    """A model and the list its whole forwards are noted in: how many prompts each had."""
    model = llama()
    runs = []
    own = type(model).forward

    def forward(self, input_ids=None, **more):
        runs.append(len(input_ids))
        return own(self, input_ids=input_ids, **more)

    forward.__module__ = own.__module__
    monkeypatch.setattr(type(model), "forward", forward)
    return model, runs


def ask(engine, **options):
    return engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, **options)


def test_three_forwards_once(counted):
    model, runs = counted
    engine = Engine(model)
    assert ask(engine).method == "delta"
    assert runs == [1, 1, 1]
    ask(engine)
    engine.gradients(PROMPTS, TARGETS)
    engine.neg_map(PROMPTS[:1], TARGETS[:1])
    assert runs == [1, 1, 1]


def test_gradients_alone(counted):
    model, runs = counted
    assert Engine(model).gradients(PROMPTS, TARGETS).cg.shape == (2, 3, 48)
    assert runs == [1, 1, 1]


def test_none_at_all(counted):
    model, runs = counted
    ask(Engine(model), check=False)
    Engine(model).gradients(PROMPTS, TARGETS, check=False)
    assert runs == []


def test_each_prompt(counted):
    model, runs = counted
    engine = Engine(model)
    for _ in range(2):
        runs.clear()
        ask(engine, check="each")
        assert runs == [1, 1] * len(PROMPTS)


CHANGES = {
    "a weight's version": lambda m: m.lm_head.weight.detach().mul_(1.0),
    "another parameter": lambda m: setattr(
        m.lm_head, "weight", torch.nn.Parameter(m.lm_head.weight.detach().clone())
    ),
    "a buffer in place": lambda m: m.model.rotary_emb.inv_freq.mul_(1.0),
    "the config": lambda m: setattr(m.config, "use_cache", False),
    "the attention": lambda m: m.set_attn_implementation("eager"),
    "a hook": lambda m: m.model.norm.register_forward_hook(lambda *args: None),
    "a module": lambda m: setattr(m.model, "norm", type(m.model.norm)(32)),
    "a dtype": lambda m: m.double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_again_when_the_model_changed(change, counted):
    model, runs = counted
    engine = Engine(model)
    ask(engine)
    runs.clear()
    CHANGES[change](model)
    assert ask(engine).method in (("generic", "suffix") if change == "a hook" else ("delta",))
    assert runs[:3] == [1, 1, 1]


def test_again_for_prompts_of_another_length(counted):
    """A window or a switch inside may lie between."""
    model, runs = counted
    engine = Engine(model)
    ask(engine)
    runs.clear()
    engine.sweep([PROMPTS[0] * 4], TARGETS[:1], NEURONS, SHIFTS)
    assert len(runs) == 3
    engine.sweep([PROMPTS[0] * 3], TARGETS[:1], NEURONS, SHIFTS)
    assert len(runs) == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layers", [3, 12])
def test_rounding_is_no_disagreement(dtype, layers, caplog):
    """Deep in half precision, a model's own log-probs are nats from what its weights say."""
    model = llama(num_hidden_layers=layers).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    for method in ("delta", "suffix", "full"):
        assert ask(Engine(model), method=method).method == method
    assert Engine(model).gradients(PROMPTS, TARGETS, method="delta").cg.shape == (2, layers, 48)


@pytest.mark.parametrize("scale", [0.0, 1e-4])
def test_shifts_that_do_next_to_nothing(scale):
    """Neurons nobody hears are answered, with next to nothing."""
    model = llama()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(scale)
    for method in ("delta", "suffix", "full"):
        found = ask(Engine(model), method=method)
        assert np.abs(found.logprob_shift).max() < 1e-2
    assert np.abs(Engine(model).gradients(PROMPTS, TARGETS).cg).max() < 1e-2


def test_numbers_that_are_none():
    model = llama()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    for method in ("auto", "delta", "suffix", "full"):
        with pytest.raises(ValueError, match=r"NaN"):
            ask(Engine(model), method=method)


@pytest.mark.parametrize("check", [True, "twice", None, 0, np.ones(2)])
def test_what_check_may_be(check):
    with pytest.raises(ValueError, match=r"check is .*'once', 'each' or False"):
        ask(Engine(llama()), check=check)


def test_explicit_methods_are_not_replaced():
    engine = Engine(llama())
    with pytest.raises(
        NotImplementedError, match=r"'suffix' computes no gradients.*'delta'.*'full'"
    ):
        engine.gradients(PROMPTS, TARGETS, method="suffix")
    with pytest.raises(NotImplementedError, match=r"'suffix' computes no path gradients.*'delta'"):
        engine.path_gradients(PROMPTS, TARGETS, [0.5, 1.0], method="suffix")
    masked = Engine(bert(), Ids())
    prompt = [[9, 5, 11, 12]]
    with pytest.raises(NotImplementedError, match=r"'delta' computes no path gradients.*'full'"):
        masked.path_gradients(prompt, [7], [0.5, 1.0], method="delta")
    assert masked.path_gradients(prompt, [7], [0.5, 1.0]).cg.shape == (1, 3, 48)


def test_why_is_in_the_log(caplog):
    model = llama()
    model.model.norm.register_forward_hook(lambda *args: None)
    with caplog.at_level(logging.INFO, "negkernel"):
        ask(Engine(model))
    assert "method generic: module 'model.norm' carries a forward hook" in caplog.text
