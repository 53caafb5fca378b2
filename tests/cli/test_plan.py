"""The price of a sweep: exact where it can be, within reason where it is an estimate."""

import time

import numpy as np
import pytest

from neurgrad import demo

PROMPTS, TARGETS = (
    ["The capital of France is", "The capital city of Poland is"],
    ["Paris", "Warsaw"],
)
SHIFTS = np.linspace(-2, 2, 20)


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


def test_rows_bytes_and_method_are_those_of_the_sweep(engine):
    neurons = [[0, 1], [2, 5], [4, 9]]
    plan = engine.plan(PROMPTS, TARGETS, neurons, SHIFTS, calibrate=False)
    sweep = engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS)
    arrays = (sweep.logprob_shift, sweep.activation, sweep.error)
    assert (plan.method, plan.prompts, plan.rows) == (sweep.method, 2, sweep.rows)
    assert plan.result_bytes == sum(array.nbytes for array in arrays)
    assert plan.seconds is None


def test_flops_fall_with_the_layer_and_rise_with_the_method(engine):
    def flops(layer: int, method: str = "delta") -> float:
        return engine.plan(
            PROMPTS, TARGETS, [[layer, 0]], SHIFTS, method=method, calibrate=False
        ).flops

    assert flops(0) > flops(2) > flops(4)
    assert flops(0) < flops(0, "suffix") < flops(0, "full")


def test_flops_of_the_last_layer_are_the_prefill_and_the_head(engine):
    plan = engine.plan(PROMPTS[:1], TARGETS[:1], [[4, 0]], SHIFTS, calibrate=False)
    more = engine.plan(PROMPTS[:1], TARGETS[:1], [[4, 0]] * 2, SHIFTS, calibrate=False)
    head = 2 * engine.model.config.hidden_size * engine.model.config.vocab_size
    assert more.flops - plan.flops == pytest.approx(len(SHIFTS) * head)


def test_seconds_are_near_those_that_it_takes(engine):
    neurons = np.stack([np.repeat(np.arange(5), 40), np.tile(np.arange(40), 5)], axis=1)
    ratios = []
    for _ in range(3):
        plan = engine.plan(PROMPTS, TARGETS, neurons, SHIFTS)
        start = time.perf_counter()
        engine.sweep(PROMPTS, TARGETS, neurons, SHIFTS)
        ratios.append(plan.seconds / (time.perf_counter() - start))
    # A busy machine changes its speed between trial and sweep; an error of units would not pass.
    assert 0.1 < np.median(ratios) < 10


def test_gradients_are_priced_where_no_neurons_are_given(engine):
    plan = engine.plan(PROMPTS, TARGETS)
    assert plan.rows == 0
    assert plan.seconds > 0
    assert plan.flops > 0


def test_a_spectral_sweep_is_priced_by_the_rows_it_is_likely_to_take(engine):
    neurons = [[layer, index] for layer in range(5) for index in range(0, 250, 25)]
    shifts = np.linspace(-2, 2, 100)
    grid = engine.plan(PROMPTS, TARGETS, neurons, shifts, calibrate=False)
    plan = engine.plan(PROMPTS, TARGETS, neurons, shifts, calibrate=False, resolution="spectral")
    sweep = engine.sweep(PROMPTS, TARGETS, neurons, shifts, resolution="spectral")
    assert sweep.rows / 3 < plan.rows < 3 * sweep.rows < grid.rows
    assert plan.result_bytes == grid.result_bytes
    assert plan.flops < grid.flops
    few = engine.plan(PROMPTS, TARGETS, neurons, [-1, 1], calibrate=False, resolution="spectral")
    assert few.rows == 2 * len(neurons) * 2
    assert "x about 200 rows (4 a neuron" in str(plan)
    assert engine.plan(PROMPTS, TARGETS, neurons, shifts, resolution="spectral").seconds > 0


def test_what_the_sweep_refuses_is_refused(engine):
    for neurons, shifts, options in (
        ([[9, 0]], SHIFTS, {}),
        ([[0, 0]], [], {}),
        ([[0, 0]], [np.nan], {}),
        ([[0, 0]], SHIFTS, {"axis": "x"}),
        ([[0, 0]], SHIFTS, {"site": "x"}),
        ([[0, 0]], SHIFTS, {"method": "x"}),
        ([[0, 0]], SHIFTS, {"resolution": "x"}),
    ):
        with pytest.raises((ValueError, IndexError)):
            engine.plan(PROMPTS, TARGETS, neurons, shifts, **options)
    with pytest.raises(ValueError, match="shifts"):
        engine.plan(PROMPTS, TARGETS, [[0, 0]])


def test_a_plan_reads_as_one_line(engine):
    text = str(engine.plan(PROMPTS, TARGETS, [[0, 0]], SHIFTS))
    assert text.count("\n") == 0
    assert "2 prompts x 20 rows" in text
