"""Shifts at any token of a masked model, before, at and behind the mask, against whole forwards."""

import numpy as np
import pytest
from masked_models import CASES, engine, sites, some_neurons

from negkernel import Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

BUDGET = 1e-9
# Every token of one prompt with its mask inside; a prompt of one token; a long one read at its end.
PROMPT = [2, 5, 4, 7, 9]
LONG = np.random.default_rng(7).integers(5, 101, 24).tolist()
PROMPTS = [*[PROMPT] * 5, [4], [*LONG, 4], [4, *LONG]]
POSITION = [*range(5), 0, 3, -1]
TARGETS = [[7 + p, 90 - p] for p in range(len(PROMPTS))]
SHIFTS = np.array([-2.0, 0.1, 20.0])


@pytest.mark.parametrize("case", CASES)
def test_sweep(case):
    e = engine(case)
    asked = zip(sites(e), ("magnitude", "scale"), (POSITION, "all"), strict=False)
    for site, axis, position in asked:
        options = {"site": site, "axis": axis, "position": position}
        with exact_float64(e.model):
            truth, ours = (
                e.sweep(PROMPTS, TARGETS, some_neurons(e), SHIFTS, method=method, **options)
                for method in ("full", "delta")
            )
        largest = np.abs(truth.logprob_shift).max()
        assert largest > 0.1
        assert_close(ours.logprob_shift, truth.logprob_shift, budget=BUDGET, relative_to=largest)
        assert_close(ours.activation, truth.activation, budget=BUDGET)


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    e = engine(case)
    with exact_float64(e.model):
        for position, fields in ((POSITION, ["cg"]), ("all", ["cg", "magnitude", "scale"])):
            truth, ours = (
                e.gradients(PROMPTS, TARGETS, position=position, method=method)
                for method in ("full", "delta")
            )
            for field in fields:
                expected = getattr(truth, field)
                largest = np.abs(expected).max()
                assert_close(getattr(ours, field), expected, budget=BUDGET, relative_to=largest)
            assert_close(ours.activation, truth.activation, budget=BUDGET)


@pytest.mark.parametrize("case", CASES)
def test_interventions_in_several_layers(case):
    e = engine(case)
    L = e.n_layers
    several = [
        Intervention([[layer, 3 + layer] for layer in range(L)], np.linspace(2, -2, L)),
        Intervention([[L - 1, 3], [0, 5]], [1.0, -2.0], axis="value"),
    ]
    with exact_float64(e.model):
        for position in (POSITION, "all"):
            truth, ours = (
                e.intervene(PROMPTS, TARGETS, several, position=position, method=method)
                for method in ("full", "delta")
            )
            largest = np.abs(truth.logprob_shift).max()
            assert_close(
                ours.logprob_shift, truth.logprob_shift, budget=BUDGET, relative_to=largest
            )
