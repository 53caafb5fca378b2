"""Errors that spectral sweeps state hold against grids: every site and range, p near 1 too."""

import numpy as np
import pytest
import torch

from neurgrad import demo

FACTOR = 2.0  # of the promise in `Sweep.error`
RADII = (2, 10, 50)


def choose(engine, n, seed):
    flat = np.random.default_rng(seed).choice(engine.n_layers * engine.n_neurons, n, replace=False)
    return np.stack(np.divmod(flat, engine.n_neurons), axis=-1)


def beyond(engine, exact, request, neurons, shifts, **how):
    """Share of curves whose error is beyond the stated one; the sweep costs no more than a grid."""
    found = engine.sweep(*request, neurons, shifts, resolution="spectral", **how)
    truth = exact.sweep(*request, neurons, found.shifts, **how).logprob_shift
    assert found.rows <= truth.size
    error = np.abs(found.logprob_shift - truth).max(-1)
    return error > FACTOR * found.error


@pytest.fixture(scope="module", params=["causal", "masked"])
def models(request):
    kind = request.param
    engine, exact = demo.load(kind), demo.load(kind)
    exact.model.double()
    few = kind == "masked"  # whose rows carry all positions
    table = demo.prompts(kind).sample(1 if few else 2, random_state=0)
    return engine, exact, (table["prompt"].tolist(), table["answer"].tolist()), few


@pytest.mark.parametrize("nth", range(3))
def test_every_site_and_range(models, nth):
    engine, exact, request, few = models
    site = (["post", "pre", "paper"] if few else ["up", "gate", "post"])[nth]
    neurons = choose(engine, 12 if few else 50, seed=7)
    wrong = [
        beyond(engine, exact, request, neurons, np.linspace(-r, r, 41 if few else 101), site=site)
        for r in RADII
    ]
    assert np.mean(wrong) <= 1e-3


@pytest.fixture(scope="module")
def sharp():
    """A random model with logits of 100 and more: p is 1 in float32, or below its range."""
    engine, exact = demo.load("causal"), demo.load("causal")
    for one, dtype in ((engine, torch.float32), (exact, torch.float64)):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in one.model.parameters():
                if parameter.ndim == 2:
                    drawn = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(drawn * 2 / parameter.shape[1] ** 0.5)
            one.model.model.norm.weight.mul_(80)
        one.model.to(dtype)
    return engine, exact


def test_sharp_models(sharp):
    engine, exact = sharp
    prompts = [[1, 5, 9, 30], [1, 7, 7, 40]]
    with torch.no_grad():
        top = [int(exact.model(torch.tensor([ids])).logits[0, -1].argmax()) for ids in prompts]
    request = prompts, [[top[0], 11], [top[1], 17]]
    neurons = choose(engine, 60, seed=8)
    wrong = [
        beyond(engine, exact, request, neurons, np.linspace(-radius, radius, 101))
        for radius in RADII
    ]
    base = engine.sweep(*request, [[0, 0]], [0.0]).base_logprob
    assert base[:, 0].max() > -1e-6
    assert base[:, 1].min() < -20
    assert np.mean(wrong) <= 2e-3  # one in 720: the promise is one in 1,000


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9, 17])
def test_no_more_rows_than_the_grid(n):
    engine = demo.load("causal")
    request = ["The capital of France is"], ["Paris"]
    shifts = np.linspace(-40, 40, n)
    found = engine.sweep(
        *request, choose(engine, 40, seed=9), shifts, site="gate", resolution="spectral", tol=1e-6
    )
    grid = engine.sweep(*request, choose(engine, 40, seed=9), shifts, site="gate")
    assert found.rows <= grid.rows
    here = shifts != 0  # no row is spent on a zero shift
    np.testing.assert_allclose(
        found.logprob_shift[..., here], grid.logprob_shift[..., here], rtol=1e-4, atol=1e-5
    )
