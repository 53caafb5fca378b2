"""Shifts at any token of a causal model, for every family: delta against whole forwards."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from decoder_cases import CASES, build
from test_decoders import AXES, BUDGET, LONG, sites_of

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

# Every token of one prompt, and some of prompts that are shorter, longer and alone.
PROMPTS = [*[LONG[:6]] * 6, [1, 5, 6], [3], LONG[:19], LONG[:19]]
POSITION = [*range(6), 1, 0, 2, -1]
TARGETS = [[7 + p, 80 - p] for p in range(len(PROMPTS))]
NEURONS = np.array([[2, 7], [0, 1], [1, 5], [3, 43], [1, 6]])
SHIFTS = np.array([-30.0, 0.1, 2.0])
# One case of each family; of some a second, where windows, caps and scaled RoPE meet.
EVERY = [
    pytest.param(model_type, name, id=f"{model_type}: {name}")
    for model_type, cases in CASES.items()
    for name in list(cases)[: 2 if model_type in ("llama", "stablelm", "phi3", "falcon") else 1]
]


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_sweep(model_type, name):
    engine = Engine(build(model_type, CASES[model_type][name]))
    turn = list(CASES).index(model_type)
    sites, axes = (itertools.cycle(one) for one in (sites_of(engine), AXES))
    asked = zip(
        itertools.islice(sites, turn % 3, None),
        itertools.islice(axes, turn % 4, None),
        (POSITION, "all"),
        strict=False,
    )
    for site, axis, position in asked:
        options = {"site": site, "axis": axis, "position": position}
        arguments = PROMPTS, TARGETS, NEURONS, SHIFTS
        with exact_float64(engine.model):
            truth = engine.sweep(*arguments, method="full", **options)
            found = engine.sweep(*arguments, method="delta", **options)
        largest = np.abs(truth.logprob_shift).max()
        moved = np.abs(truth.logprob_shift).max(axis=(1, 3)) > 1e-6 * largest
        assert moved.mean() > 0.3, "shifts without effect test nothing"
        what = f"at {position}, {site}, {axis}"
        assert_close(
            found.logprob_shift, truth.logprob_shift, budget=BUDGET, relative_to=largest, what=what
        )
        assert_close(found.activation, truth.activation, budget=BUDGET, what=what)
        assert found.positions == truth.positions


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_gradients(model_type, name):
    engine = Engine(build(model_type, CASES[model_type][name]))
    site = sites_of(engine)[list(CASES).index(model_type) % len(sites_of(engine))]
    with exact_float64(engine.model):
        for position in (POSITION, "all"):
            asked = {"site": site, "position": position}
            truth = engine.gradients(PROMPTS, TARGETS, method="full", **asked)
            ours = engine.gradients(PROMPTS, TARGETS, method="delta", **asked)
            for field in ("cg", "magnitude", "scale"):
                expected = getattr(truth, field)
                if field != "cg" and position != "all":
                    assert expected is None
                    continue
                largest = np.abs(expected).max()
                assert_close(getattr(ours, field), expected, budget=BUDGET, relative_to=largest)
            assert_close(ours.activation, truth.activation, budget=BUDGET)
            assert_close(ours.prob, truth.prob, budget=BUDGET)


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_interventions_in_several_layers(model_type, name):
    engine = Engine(build(model_type, CASES[model_type][name]))
    site = sites_of(engine)[1]
    several = [
        Intervention([[0, 3], [2, 5], [2, 9], [3, 1]], [1.0, -2.0, 0.5, 3.0], site=site),
        Intervention([[3, 5], [1, 3]], [1.0, -2.0], axis="value", site=site),
    ]
    with exact_float64(engine.model):
        for position in (POSITION, "all", 0):
            truth, ours = (
                engine.intervene(PROMPTS, TARGETS, several, position=position, method=method)
                for method in ("full", "delta")
            )
            largest = np.abs(truth.logprob_shift).max()
            assert_close(
                ours.logprob_shift, truth.logprob_shift, budget=BUDGET, relative_to=largest
            )
