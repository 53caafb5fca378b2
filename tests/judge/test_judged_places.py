"""Heads and directions are held against the model apart from neurons, and as strictly."""

import logging

import numpy as np
import pytest
from plain_forwards import NEURONS, PROMPTS, SHIFTS, TARGETS, llama

from negkernel import Directions, Engine
from negkernel.delta import backward, inject

HEADS = np.array([[0, 1], [2, 3]])
VECTORS = np.random.default_rng(0).normal(size=(2, 32))
ASKED = {
    "head": (HEADS, {"site": "head", "axis": "scale"}),
    "residual": (Directions([0, 2], VECTORS), {}),
    "attention_out": (Directions([0, 2], VECTORS, "attention_out"), {}),
}


def wrong_heads(patch):
    own = inject._factor
    patch.setattr(inject, "_factor", lambda entries: 2 * own(entries))


def wrong_vectors(patch):
    own = inject._along

    def twice(*given):
        vectors, which, change = own(*given)
        return vectors, which, 2 * change

    patch.setattr(inject, "_along", twice)


@pytest.mark.parametrize("name", ASKED)
def test_right_where_delta_is_wrong(name, monkeypatch, caplog):
    """A difference form with a fault in one place: neurons keep it, the place does not."""
    neurons, how = ASKED[name]
    engine = Engine(llama())
    truth = engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS, method="full", check=False, **how)
    (wrong_heads if name == "head" else wrong_vectors)(monkeypatch)
    with caplog.at_level(logging.INFO, logger="negkernel"):
        found = engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS, **how)
    assert found.method in ("generic", "suffix")
    assert "a shift moves a log-prob by" in caplog.text
    largest = np.abs(truth.logprob_shift).max()
    np.testing.assert_allclose(found.logprob_shift, truth.logprob_shift, atol=1e-4 * largest)
    with pytest.raises(NotImplementedError, match="a shift moves a log-prob by"):
        engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS, method="delta", **how)
    assert engine.sweep(PROMPTS, TARGETS, np.array(NEURONS), SHIFTS).method == "delta"


@pytest.mark.parametrize("name", ASKED)
def test_gradients_are_held_too(name, monkeypatch):
    what = {"site": "head"} if name == "head" else {"neurons": ASKED[name][0]}
    engine = Engine(llama())
    truth = engine.gradients(PROMPTS, TARGETS, method="full", check=False, **what)
    right = engine.gradients(PROMPTS, TARGETS, **what)
    own = backward.picked
    monkeypatch.setattr(backward, "picked", lambda *given: -own(*given))
    found = Engine(engine.model).gradients(PROMPTS, TARGETS, **what)
    largest = np.abs(truth.cg).max()
    for one in (right, found):
        np.testing.assert_allclose(one.cg, truth.cg, atol=1e-4 * largest)


def test_a_hook_of_the_users_own():
    """What a model's own hooks change is in the answer."""
    model = llama()
    handle = model.model.layers[1].self_attn.o_proj.register_forward_hook(lambda m, a, out: 2 * out)
    engine = Engine(model)
    for neurons, how in ASKED.values():
        truth = engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS, method="full", **how)
        found = engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS, **how)
        largest = np.abs(truth.logprob_shift).max()
        np.testing.assert_allclose(found.logprob_shift, truth.logprob_shift, atol=1e-4 * largest)
    handle.remove()
    assert not model.model.layers[1].self_attn.o_proj._forward_hooks
