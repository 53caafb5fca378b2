"""Pictures show the numbers they should, on given axes or new ones, and change no settings."""

import matplotlib as mpl

mpl.use("Agg")

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from negkernel import Gradients, Sweep
from neurgrad import demo
from neurgrad.plots import (
    activation_against_neg,
    draw_all,
    layer_profile,
    neg_histogram,
    sweep_curves,
)

PROMPTS = ["The capital of France is", "The capital city of Poland is"]


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    engine = demo.load("causal")
    neurons = [[layer, index] for layer in (0, 2, 4) for index in (3, 70, 200)]
    return engine.sweep(PROMPTS, ["Paris", "Warsaw"], neurons, [1.0, -1.0, 0.5, -0.5])


@pytest.fixture(scope="module")
def gradients() -> Gradients:
    engine = demo.load("causal")
    return engine.gradients(PROMPTS, [["Paris", "Warsaw"], ["Warsaw", "Paris"]])


@pytest.fixture(autouse=True)
def _closed():
    settings = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == settings
    plt.close("all")


def test_curves_are_the_sweep_and_dashed_lines_have_slope_neg(sweep: Sweep):
    ax = sweep_curves(sweep, prompt=1, neurons=[4, 0])
    curve, line = ax.lines[0], ax.lines[1]
    order = np.argsort(sweep.shifts)
    np.testing.assert_array_equal(curve.get_xdata(), sweep.shifts[order])
    np.testing.assert_array_equal(curve.get_ydata(), sweep.prob_shift()[1, 4, order])
    np.testing.assert_allclose(line.get_ydata() / line.get_xdata(), sweep.neg()[1, 4], rtol=1e-5)
    assert curve.get_label() == "layer 2, neuron 70"
    assert "Warsaw" in ax.get_title(loc="right")
    assert "activation units" in ax.get_xlabel()


def test_a_title_of_ones_own_and_how_many_neurons_there_are(sweep: Sweep):
    ax = sweep_curves(sweep, neurons=2, title="Which city is it?")
    assert ax.get_title(loc="right") == "Which city is it? [Paris]"
    assert "2 of n = 9" in ax.get_legend().get_title().get_text()


def test_few_counts_stand_on_an_axis_of_whole_numbers(sweep: Sweep, gradients: Gradients):
    few, many = neg_histogram(sweep), neg_histogram(gradients)
    assert (few.get_yscale(), many.get_yscale()) == ("linear", "log")
    assert all(tick == round(tick) for tick in few.get_yticks())


def test_gradients_have_no_curves(gradients: Gradients):
    with pytest.raises(TypeError, match="expected a Sweep"):
        sweep_curves(gradients)  # type: ignore[arg-type]


def test_curves_of_the_strongest_neurons_come_first(sweep: Sweep):
    ax = sweep_curves(sweep, neurons=1)
    layer, neuron = sweep.neurons[np.abs(sweep.neg()[0]).argmax()]
    assert ax.lines[0].get_label() == f"layer {layer}, neuron {neuron}"


def test_the_histogram_counts_what_is_within_it_and_says_what_is_beyond(gradients: Gradients):
    ax = neg_histogram(gradients)
    counted = sum(patch.get_height() for patch in ax.patches)
    size = np.abs(gradients.neurgrad())
    within = size <= np.percentile(size, 99)
    assert counted == np.count_nonzero(size[within])
    assert ax.get_title(loc="right") == f"n = {size.size:,}, {1 - within.mean():.1%} lie beyond"
    assert "NeurGrad" in ax.get_xlabel()


def test_the_profile_is_mean_size_and_variance_of_each_layer(sweep: Sweep, gradients: Gradients):
    mean, variance = layer_profile(gradients)
    values = gradients.neurgrad().astype(np.float64)
    np.testing.assert_allclose(mean.lines[0].get_ydata(), np.abs(values).mean((0, 1, 3)))
    np.testing.assert_allclose(variance.lines[0].get_ydata(), values.var((0, 1, 3)))
    mean, _ = layer_profile(sweep)
    line = mean.lines[0]  # with gaps, not lines, where no neuron was asked for
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(np.isnan(line.get_ydata()), [0, 1, 0, 1, 0])


def test_activations_are_drawn_against_slopes(sweep: Sweep):
    ax = activation_against_neg(sweep)
    points = np.concatenate([each.get_offsets() for each in ax.collections])
    expected = np.stack([sweep.activation.ravel(), sweep.neg().ravel()], axis=1)
    assert len(points) == len(expected)
    np.testing.assert_allclose(sorted(points.tolist()), sorted(expected.tolist()), rtol=1e-6)


def test_axes_of_ones_own_are_drawn_on_and_returned(sweep: Sweep):
    own = plt.figure().subplots()
    for draw in (sweep_curves, neg_histogram, activation_against_neg):
        assert draw(sweep, ax=own) is own
    pair = plt.figure().subplots(2)
    assert layer_profile(sweep, axes=pair) == tuple(pair)


@pytest.mark.parametrize("kind", ["sweep", "gradients"])
def test_all_pictures_become_files(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    paths = draw_all(request.getfixturevalue(kind), tmp_path / "new")
    assert len(paths) == (8 if kind == "sweep" else 6)
    for path in paths:
        start = path.read_bytes()[:5]
        assert start == (b"\x89PNG\r" if path.suffix == ".png" else b"<?xml")


def test_a_constant_result_can_be_drawn(sweep: Sweep, tmp_path: Path):
    from dataclasses import replace

    draw_all(replace(sweep, logprob_shift=np.zeros_like(sweep.logprob_shift)), tmp_path)
