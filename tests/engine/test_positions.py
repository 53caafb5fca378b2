"""What position= takes and refuses, and that every question takes it."""

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine, Gradients, Intervention, Sweep
from negkernel.testing.compare import assert_close

PROMPTS = [[1, 5, 6, 7, 9], [3, 8]]
TARGETS = [7, 80]
NEURONS = np.array([[0, 3], [1, 5], [2, 39]])


@pytest.fixture(scope="module")
def engine():
    return Engine(build("llama"))


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (5, "position 5 is outside prompt 0, which has 5 tokens; expected -5 <= position < 5"),
        (2, "position 2 is outside prompt 1"),
        ([0, -3], "position -3 is outside prompt 1"),
        ([0], "position has 1 numbers for 2 prompts; expected one integer for all prompts"),
        ("last", "position is 'last'; expected None, an integer"),
        (1.0, "position is 1.0; expected None, an integer"),
        (True, "position is True; expected None, an integer"),
        ([[0], [1]], "expected None, an integer, one integer for each prompt, or 'all'"),
    ],
)
def test_bad_positions(engine, position, message):
    with pytest.raises((ValueError, IndexError), match=r"position") as caught:
        engine.sweep(PROMPTS, TARGETS, NEURONS, [1.0], position=position)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_suffix_names_those_that_can(engine):
    for position in (0, "all"):
        with pytest.raises(NotImplementedError, match="'delta' or 'full'"):
            engine.sweep(PROMPTS, TARGETS, NEURONS, [1.0], position=position, method="suffix")
    last = engine.sweep(PROMPTS, TARGETS, NEURONS, [1.0], position=-1, method="suffix")
    default = engine.sweep(PROMPTS, TARGETS, NEURONS, [1.0], method="suffix")
    np.testing.assert_array_equal(last.logprob_shift, default.logprob_shift)


def test_the_last_token_by_any_name(engine):
    default = engine.sweep(PROMPTS, TARGETS, NEURONS, [-1.0, 1.0])
    for position in (-1, [4, 1], np.array([-1, 1]), torch.tensor([4, -1])):
        found = engine.sweep(PROMPTS, TARGETS, NEURONS, [-1.0, 1.0], position=position)
        np.testing.assert_array_equal(found.logprob_shift, default.logprob_shift)
    assert default.positions is None
    assert found.positions == [[4], [1]]


def test_an_unknown_family_falls_back_to_whole_forwards(engine, monkeypatch):
    def unknown(*_):
        raise NotImplementedError("no such family")

    asked = PROMPTS, TARGETS, NEURONS, [-1.0, 2.0]
    expected = engine.sweep(*asked, position=0)
    monkeypatch.setattr("negkernel.handle.describe", unknown)
    found = Engine(build("llama")).sweep(*asked, position=0)
    assert found.method in ("generic", "full")
    assert_close(found.logprob_shift, expected.logprob_shift, budget=1e-6)
    assert Engine(build("llama")).sweep(*asked).method in ("generic", "suffix")


@pytest.mark.parametrize("axis", ["magnitude", "signed", "scale", "value"])
@pytest.mark.parametrize("position", [0, [2, 1], "all"])
def test_spectral_sweeps_follow_the_grid(engine, position, axis):
    shifts = np.linspace(-1, 1, 21)
    asked = PROMPTS, TARGETS, NEURONS, shifts
    grid, spectral = (
        engine.sweep(*asked, axis=axis, position=position, resolution=resolution)
        for resolution in ("grid", "spectral")
    )
    assert_close(
        spectral.logprob_shift,
        grid.logprob_shift,
        budget=1e-3,
        relative_to=np.abs(grid.logprob_shift).max(-1, keepdims=True),
    )


def test_maps_and_plans_take_positions(engine, tmp_path):
    here, there = (
        engine.neg_map(PROMPTS, TARGETS, position=position, radius=0.5, folder=tmp_path / str(i))
        for i, position in enumerate((None, 0))
    )
    assert not np.allclose(here.neg, there.neg)
    layer, index = NEURONS[0]
    grid = np.delete(np.linspace(-0.5, 0.5, 101), 50)
    alone = engine.sweep(PROMPTS, TARGETS, NEURONS, grid, position=0)
    np.testing.assert_allclose(there.neg[:, layer, index], alone.neg()[:, 0], rtol=1e-2)
    again = engine.neg_map(PROMPTS, TARGETS, position=0, radius=0.5, folder=tmp_path / "1")
    np.testing.assert_array_equal(again.neg, there.neg)
    with pytest.raises(ValueError, match="differs in shifted"):
        engine.neg_map(PROMPTS, TARGETS, position=1, radius=0.5, folder=tmp_path / "1")
    plans = [
        engine.plan(PROMPTS, TARGETS, NEURONS, [1.0], position=position, calibrate=False)
        for position in (None, 0, "all")
    ]
    assert plans[0].flops < plans[1].flops == plans[2].flops


def test_streamed_gradients_tell_of_every_position(engine):
    whole = engine.gradients(PROMPTS, TARGETS, position="all")
    for part in engine.stream_gradients(PROMPTS, TARGETS, position="all"):
        assert [tuple(one.shape) for one in part.values] == [(5, 40), (2, 40)][part.prompts]
        np.testing.assert_array_equal(part.cg[:, 0], whole.cg[part.prompts, part.layer])
        at_last = torch.stack([own[-1] for own in part.values])
        np.testing.assert_array_equal(part.activation, at_last)
    each = sum(engine.gradients(PROMPTS[:1], TARGETS[:1], position=p).neurgrad() for p in range(5))
    assert_close(whole.neurgrad()[:1], each, budget=1e-12, relative_to=np.abs(each).max())
    with pytest.raises(ValueError, match=r"threshold is 0\.1"):
        whole.neurgrad(0.1)


def test_results_keep_positions_in_their_files(engine, tmp_path):
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, [1.0], position=[2, 0])
    sweep.save(tmp_path / "sweep.safetensors")
    assert Sweep.load(tmp_path / "sweep.safetensors").positions == [[2], [0]]
    gradients = engine.gradients(PROMPTS, TARGETS, position="all")
    gradients.save(tmp_path / "gradients.safetensors")
    found = Gradients.load(tmp_path / "gradients.safetensors")
    np.testing.assert_array_equal(found.neurgrad(), gradients.neurgrad())


@pytest.mark.parametrize("signs", ["running", "baseline"])
@pytest.mark.parametrize("position", [[1, 0], "all"])
def test_interventions_follow_signs_at_each_position(engine, position, signs):
    several = Intervention(
        [[layer, i] for layer in range(3) for i in range(40)], np.full(120, -2.0), signs=signs
    )
    full, delta = (
        engine.intervene(PROMPTS, TARGETS, [several], position=position, method=method)
        for method in ("full", "delta")
    )
    assert_close(delta.logprob_shift, full.logprob_shift, budget=1e-5)
