"""KL, rank and logit difference beside log p, against whole forwards in true float64."""

import numpy as np
import pytest

import negkernel
from negkernel.testing.exact import exact_float64
from neurgrad import demo

ALL = ("logprob", "logit_diff", "kl", "rank")
NEURONS = np.array([[0, 3], [1, 200], [3, 17], [4, 9], [4, 250]])
SHIFTS = np.array([-60.0, -2.0, 1e-4, 0.5, 20.0])


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(2, random_state=4)
    answers = table["answer"].tolist()
    return table["prompt"].tolist(), [[answers[0], answers[1]], [answers[1], answers[0]]]


@pytest.fixture(scope="module")
def truth(facts):
    engine = demo.load("causal")
    with exact_float64(engine.model.double()):
        return engine.sweep(*facts, NEURONS, SHIFTS, metrics=ALL, method="full")


def test_delta_in_float64_is_the_whole_forward(facts, truth):
    engine = demo.load("causal")
    with exact_float64(engine.model.double()):
        for method in ("delta", "suffix"):
            found = engine.sweep(*facts, NEURONS, SHIFTS, metrics=ALL, method=method)
            np.testing.assert_allclose(found.logprob_shift, truth.logprob_shift, atol=1e-11)
            np.testing.assert_allclose(found.logit_diff, truth.logit_diff, atol=1e-11)
            np.testing.assert_allclose(found.kl, truth.kl, atol=1e-12)
            np.testing.assert_array_equal(found.rank, truth.rank)
            np.testing.assert_array_equal(found.top_changed, truth.top_changed)
    assert truth.top_changed.any()
    assert not truth.top_changed.all()
    assert (truth.rank[:, 0][truth.top_changed] > 0).all()


def test_a_small_kl_keeps_its_digits_in_float32(engine, facts):
    """KL is of second order: 1e-12 here, where subtracting log-probs would leave nothing."""
    shifts = np.array([1e-4, 1e-2])
    found = engine.sweep(*facts, NEURONS, shifts, metrics=("logprob", "kl")).kl
    double = demo.load("causal")
    double.model.double()
    exact = double.sweep(*facts, NEURONS, np.float32(shifts), metrics=("logprob", "kl")).kl
    assert (exact > 0).all()
    np.testing.assert_allclose(found, exact, rtol=1e-3)
    np.testing.assert_allclose(exact[..., 1] / exact[..., 0], 1e4, rtol=0.05)


def test_metrics_are_saved_and_absent_where_not_asked_for(engine, facts, truth, tmp_path):
    truth.save(tmp_path / "sweep")
    read = negkernel.Sweep.load(tmp_path / "sweep")
    np.testing.assert_array_equal(read.rank, truth.rank)
    np.testing.assert_array_equal(read.kl, truth.kl)
    plain = engine.sweep(*facts, NEURONS, SHIFTS)
    assert plain.kl is plain.rank is plain.logit_diff is plain.top_changed is None
    plain.save(tmp_path / "plain")
    assert negkernel.Sweep.load(tmp_path / "plain").kl is None


def test_one_target_drops_its_axis(engine, facts):
    prompts, targets = facts
    found = engine.sweep(prompts, [t[0] for t in targets], NEURONS, SHIFTS, metrics=["rank"])
    assert found.rank.shape == found.logprob_shift.shape
    assert found.kl is None


def test_a_spectral_sweep_gives_logit_differences(engine, facts):
    shifts = np.linspace(-1, 1, 31)
    found = engine.sweep(
        *facts, NEURONS, shifts, metrics=("logprob", "logit_diff"), resolution="spectral"
    )
    grid = engine.sweep(*facts, NEURONS, shifts, metrics=("logprob", "logit_diff"))
    np.testing.assert_allclose(found.logit_diff, grid.logit_diff, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(
    ("metrics", "resolution", "message"),
    [
        (("logprob", "entropy"), "grid", "expected any of 'logprob'"),
        ("kl", "grid", "in a list"),
        (("logprob", "kl"), "spectral", "pass 'grid'"),
    ],
)
def test_what_cannot_be_read_is_refused(engine, facts, metrics, resolution, message):
    with pytest.raises(ValueError, match=message):
        engine.sweep(*facts, NEURONS, SHIFTS, metrics=metrics, resolution=resolution)


def test_a_logit_difference_needs_two_targets(engine, facts):
    prompts, targets = facts
    with pytest.raises(ValueError, match="of two targets, got 1"):
        engine.sweep(
            prompts, [t[0] for t in targets], NEURONS, SHIFTS, metrics=("logprob", "logit_diff")
        )
