"""Answers brought to a wanted probability: by few rows, and as the exact engine says."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import neurgrad
from negkernel import Intervention
from neurgrad.analysis import precision
from neurgrad.analysis.answered import answered
from neurgrad.analysis.study import PromptStudy
from neurgrad.analysis.tables import TABLES

COUNTRIES = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima"}
PROMPTS = [f"The capital of {country} is" for country in COUNTRIES]
TARGETS = list(COUNTRIES.values())


@pytest.fixture(scope="module")
def engine():
    return neurgrad.demo.load("causal")


@pytest.fixture(scope="module")
def lowered(engine):
    return neurgrad.steer(engine, PROMPTS, TARGETS, probability=0.3, k=8)


def test_the_actual_probability_is_the_exact_engines(engine, lowered):
    for p, shift in enumerate(lowered.interventions):
        assert len(shift) == 8
        found = engine.intervene([PROMPTS[p]], [TARGETS[p]], [shift])
        exact = np.exp(found.base_logprob[0] + found.logprob_shift[0, 0])
        assert lowered.actual[p] == pytest.approx(exact, abs=1e-4)
        first_order = found.predicted[0, 0]
        assert lowered.predicted[p] == pytest.approx(lowered.base[p] + first_order, abs=1e-3)


def test_most_answers_come_near_in_three_rows(engine, lowered):
    assert (lowered.rows <= 3).all()
    assert lowered.within(0.05).mean() >= 0.75
    assert (lowered.base > 0.3).all()
    more = neurgrad.steer(engine, PROMPTS, TARGETS, probability=0.3, k=8, rows=8)
    near = [np.abs(one.actual - 0.3).max() for one in (more, lowered)]
    assert near[0] <= near[1]
    each = neurgrad.steer(engine, PROMPTS, TARGETS, probability=[0.2, 0.4, 0.6, 0.8], k=8)
    assert np.abs(each.actual - each.probability).max() < np.abs(each.base - each.probability).max()


def test_damage_is_the_divergence_elsewhere(engine, lowered):
    heldout = ["The capital of Chile is", "The capital of Norway is"]
    found = neurgrad.steer(engine, PROMPTS[:2], TARGETS[:2], probability=0.3, k=8, heldout=heldout)
    told = engine.intervene(heldout, [0, 0], found.interventions, metrics=["kl"])
    np.testing.assert_allclose(found.kl, np.median(told.kl, axis=0))
    one = engine.sweep(heldout, [5, 5], [[0, 1]], [2.0], metrics=["kl"]).kl[:, 0]
    same = engine.intervene(
        heldout, [5, 5], [Intervention([[0, 1]], [2.0])], metrics=["logprob", "kl"]
    )
    np.testing.assert_allclose(same.kl, one, rtol=1e-4, atol=1e-9)
    assert np.isnan(neurgrad.steer(engine, PROMPTS[:1], TARGETS[:1], probability=0.3, k=4).kl).all()
    assert (lowered.kl > 0).all()


def test_the_table_has_a_row_a_prompt(lowered):
    frame = lowered.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["target"].tolist() == TARGETS
    np.testing.assert_array_equal(frame["actual"], lowered.actual)


def test_answers_of_several_tokens(engine):
    found = neurgrad.steer(
        engine, PROMPTS[:2], ["Paris and Rome", "Rome"], probability=0.05, k=8, target_tokens="all"
    )
    assert np.isfinite(found.actual).all()
    for p, target in enumerate(["Paris and Rome", "Rome"]):
        told = engine.intervene(
            [PROMPTS[p]], [target], found.interventions[p : p + 1], target_tokens="all"
        )
        exact = np.exp(told.base_logprob[0] + told.logprob_shift[0, 0])
        assert found.actual[p] == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.0}, "between 0 and 1"),
        ({"probability": [0.1, 0.2]}, "one for each prompt"),
        ({"probability": 0.5, "k": 0}, "k is 0"),
        ({"probability": 0.5, "rows": 0}, "rows is 0"),
    ],
)
def test_what_is_refused(engine, options, message):
    with pytest.raises(ValueError, match=message):
        neurgrad.steer(engine, PROMPTS, TARGETS, **options)


def test_several_targets_are_refused(engine):
    with pytest.raises(ValueError, match="one for each prompt"):
        neurgrad.steer(engine, PROMPTS[:1], [["Paris", "Rome"]], probability=0.5)


def test_precision_against_intensity(engine, monkeypatch):
    table = partial(precision.steered, counts=(2, 8), wanted=(0.2, 0.6))
    monkeypatch.setitem(TABLES, "steered", table)
    study = PromptStudy(engine, answered(engine, PROMPTS, TARGETS))
    frame = precision.by_intensity(study)
    found = frame[["k", "probability"]].to_numpy().tolist()
    assert found == [[2, 0.2], [2, 0.6], [8, 0.2], [8, 0.6]]
    assert (frame["intensity"] > 0).all()
    assert (frame["prompts"] == len(PROMPTS)).all()
    stated = study.stated(frame)
    assert set(stated["axis"]) == {"signed"}
    assert "shift_high" not in stated
    assert len(precision.draw(frame).axes) == 2
