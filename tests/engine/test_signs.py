"""Signs of several neurons at once: as earlier shifts left them, or the baseline's."""

import logging

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64
from neurgrad import demo

PROMPTS = [[1, 5, 6, 7, 9], [4, 2, 8]]
TARGETS = [3, 50]
EARLY = [(0, i) for i in range(6)]


@torch.no_grad()
def hooked(model, modules, ids, at, neurons, amounts, rule):
    """Log-probs [V], signs before and where met [M], by hooks on the down projections' inputs."""
    before, met, added, found = {}, {}, {}, []

    def hook(layer, apply):
        def catch(module, args):
            x = args[0].clone()
            if not apply:
                before[layer] = x[0, at].clone()
                return None
            for (own, index), amount in zip(neurons, amounts, strict=True):
                if own == layer:
                    met[own, index] = torch.sign(x[0, at, index]).item()
                    base = torch.sign(before[layer][index]).item()
                    added[own, index] = amount * (base if rule == "baseline" else met[own, index])
            for (own, index), change in added.items():
                if own == layer:
                    x[0, at, index] += change
            return (x, *args[1:])

        return catch

    for apply in (False, True):
        handles = [m.register_forward_pre_hook(hook(i, apply)) for i, m in enumerate(modules)]
        try:
            found.append(model(torch.tensor([ids])).logits[0, at].log_softmax(-1))
        finally:
            for handle in handles:
                handle.remove()
    signs = [torch.sign(before[layer][index]).item() for layer, index in neurons]
    return found[1] - found[0], np.array(signs) != np.array([met[tuple(n)] for n in neurons])


def case(kind):
    """A float64 engine, its down projections, prompts, probed positions and two targets."""
    if kind == "llama":
        model = build("llama")
        modules = [layer.mlp.down_proj for layer in model.model.layers]
        return Engine(model), modules, PROMPTS, [len(ids) - 1 for ids in PROMPTS]
    engine = demo.load(kind)
    engine.model.double()
    text = demo.prompts(kind).sample(2, random_state=1)["prompt"].tolist()
    tokens = [engine.tokenizer(one)["input_ids"] for one in text]
    if kind == "causal":
        modules = [layer.mlp.down_proj for layer in engine.model.model.layers]
        return engine, modules, tokens, [len(ids) - 1 for ids in tokens]
    modules = [layer.output.dense for layer in engine.model.bert.encoder.layer]
    mask = engine.tokenizer.mask_token_id
    return engine, modules, tokens, [ids.index(mask) for ids in tokens]


def tiny_late(engine, prompts, count=12):
    """The neurons of the upper layers that are nearest to 0 somewhere."""
    activation = np.abs(engine.gradients(prompts, TARGETS, site="post").activation).min(0)
    activation[0] = np.inf
    order = np.argsort(activation, axis=None)[:count]
    return np.stack(np.unravel_index(order, activation.shape), -1)


@pytest.mark.parametrize("rule", ["running", "baseline"])
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("llama", "delta"),
        ("llama", "suffix"),
        ("llama", "full"),
        ("causal", "delta"),
        ("masked", "delta"),
        ("masked", "full"),
    ],
)
def test_against_hooks(kind, method, rule, caplog):
    engine, modules, tokens, positions = case(kind)
    # The tail of a GELU is small and stays negative: it takes more of them and harder pushes.
    neurons = np.concatenate([EARLY, tiny_late(engine, tokens, 100 if kind == "masked" else 12)])
    push = 5 if kind == "masked" else 1
    sizes = [np.full(len(neurons), push * s) for s in (2.0, -1.5)]
    asked = [Intervention(neurons, s, site="post", signs=rule) for s in sizes]
    with exact_float64(engine.model), caplog.at_level(logging.INFO, "negkernel"):
        got = engine.intervene(tokens, TARGETS, asked, method=method).logprob_shift
        expected, flips = np.empty(got.shape), 0
        for p, (ids, at) in enumerate(zip(tokens, positions, strict=True)):
            for r, amounts in enumerate(sizes):
                log_p, flipped = hooked(engine.model, modules, ids, at, neurons, amounts, rule)
                expected[p, r] = log_p[TARGETS[p]]
                flips += int(flipped.sum())
    assert flips > 3  # or the two rules would be one
    assert_close(got, expected, budget=1e-9, relative_to=np.abs(expected).max())
    lines = [one for one in caplog.records if "flipped the sign" in one.message]
    assert len(lines) == 1
    assert f" {flips} activations" in lines[0].message
    assert lines[0].levelno == (logging.WARNING if rule == "running" else logging.INFO)


def test_both_rules_in_one_call_and_alone():
    engine, _, tokens, _ = case("llama")
    neurons = np.concatenate([EARLY, tiny_late(engine, tokens)])
    sizes = np.full(len(neurons), 2.0)
    both = [Intervention(neurons, sizes, signs=rule) for rule in ("baseline", "running")]
    together = engine.intervene(tokens, TARGETS, both).logprob_shift
    alone = [engine.intervene(tokens, TARGETS, [one]).logprob_shift[:, 0] for one in both]
    assert_close(together, np.stack(alone, 1), budget=1e-12)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


def test_one_layer_has_one_answer(caplog):
    engine, _, tokens, _ = case("llama")
    own = [(1, i) for i in range(20)]
    pair = [Intervention(own, np.full(20, 3.0), signs=s) for s in ("baseline", "running")]
    got = engine.intervene(tokens, TARGETS, pair).logprob_shift
    assert_close(got[:, 0].copy(), got[:, 1], budget=1e-12)
    assert "flipped" not in caplog.text


@pytest.mark.parametrize("axis", ["signed", "scale", "value"])
def test_axes_without_a_sign_refuse_the_rule(axis):
    with pytest.raises(ValueError, match=f"signs='baseline' is of the magnitude axis.*{axis}"):
        Intervention([(0, 1)], [1.0], axis=axis, signs="baseline")


def test_an_unknown_rule():
    with pytest.raises(ValueError, match="signs 'base' is unknown; expected 'running' or"):
        Intervention([(0, 1)], [1.0], signs="base")
