"""Delta equals one full forward per shift, for every masked family and site, in float64."""

import numpy as np
import pytest
import torch
from masked_models import CASES, engine, sites, some_neurons

from negkernel import Intervention
from negkernel.families import registered
from negkernel.sites import AXES
from negkernel.testing.exact import exact_float64

# Of the largest shift. What float64 itself leaves is below 1e-14; the issue asks for 1e-9.
BUDGET = 1e-12


def assert_same(got, expected):
    assert np.abs(expected).max() > 0.1
    assert np.abs(got - expected).max() <= BUDGET * np.abs(expected).max()


def test_every_registered_family_has_a_case():
    types = {engine(case).model.config.model_type for case in CASES}
    assert types == set(registered("masked"))


@pytest.mark.parametrize("case", CASES)
def test_sweep_and_base(case, prompts, targets, shifts):
    e = engine(case)
    neurons = some_neurons(e)
    with exact_float64(e.model):
        for site in sites(e):
            full, delta = (
                e.sweep(prompts, targets, neurons, shifts, site=site, method=method)
                for method in ("full", "delta")
            )
            assert_same(delta.logprob_shift, full.logprob_shift)
            np.testing.assert_allclose(delta.base_logprob, full.base_logprob, atol=1e-12)
            np.testing.assert_allclose(delta.activation, full.activation, atol=1e-12)
            assert (delta.method, full.method) == ("delta", "full")


@pytest.mark.parametrize("case", CASES)
def test_interventions_in_several_layers(case, prompts, targets):
    e = engine(case)
    L, I = e.n_layers, e.n_neurons
    with exact_float64(e.model):
        for site in sites(e):
            interventions = [
                Intervention([[l, 3 + l] for l in range(L)], np.linspace(2, -2, L), site=site),
                Intervention([[0, i] for i in range(I)], np.linspace(-1, 1, I), "signed", site),
                Intervention([[L - 1, 3], [0, 5]], [1.0, -2.0], axis="value", site=site),
            ]
            full, delta = (
                e.intervene(prompts, targets, interventions, method=method)
                for method in ("full", "delta")
            )
            assert_same(delta.logprob_shift, full.logprob_shift)


@pytest.mark.parametrize("case", CASES)
def test_gradients(case, prompts, targets):
    e = engine(case)
    with exact_float64(e.model):
        for site in sites(e):
            full, delta = (
                e.gradients(prompts, targets, site=site, method=method)
                for method in ("full", "delta")
            )
            assert np.abs(delta.cg - full.cg).max() <= BUDGET * np.abs(full.cg).max()
            np.testing.assert_allclose(delta.prob, full.prob, rtol=1e-12)
            np.testing.assert_allclose(delta.activation, full.activation, atol=1e-12)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("case", ["bert", "modernbert-short-window"])
def test_axes(case, axis, prompts, targets, shifts):
    e = engine(case)
    with exact_float64(e.model):
        full, delta = (
            e.sweep(prompts, targets, some_neurons(e), shifts, axis=axis, method=method)
            for method in ("full", "delta")
        )
    assert_same(delta.logprob_shift, full.logprob_shift)


@pytest.mark.parametrize("case", CASES)
def test_large_shifts(case, prompts, targets):
    """At +-50, in float32, where exponentials overflow and target mass vanishes."""
    truth, e = engine(case), engine(case, torch.float32)
    shifts = np.array([-50.0, 50.0])
    with exact_float64(truth.model):
        expected = truth.sweep(prompts, targets, some_neurons(e), shifts, method="full")
    got = e.sweep(prompts, targets, some_neurons(e), shifts, method="delta")
    assert np.isfinite(got.logprob_shift).all()
    largest = np.abs(expected.logprob_shift).max()
    assert np.abs(got.logprob_shift - expected.logprob_shift).max() <= 2e-5 * largest


@pytest.mark.parametrize("case", ["bert", "modernbert-short-window"])
def test_small_shifts_keep_their_digits(case, prompts, targets):
    """Where plain float32 forwards have lost nearly all of theirs."""
    truth, e = engine(case), engine(case, torch.float32)
    shifts = np.array([-1e-5, 1e-5])
    with exact_float64(truth.model):
        expected = truth.sweep(prompts, targets, some_neurons(e), shifts, method="delta")
    errors = {
        method: np.abs(
            e.sweep(prompts, targets, some_neurons(e), shifts, method=method).logprob_shift
            - expected.logprob_shift
        ).max()
        / np.abs(expected.logprob_shift).max()
        for method in ("full", "delta")
    }
    assert errors["delta"] < 1e-5
    assert errors["full"] > 100 * errors["delta"]
