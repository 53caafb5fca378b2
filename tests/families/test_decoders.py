"""Every family the registry knows, run by itself: delta against whole forwards and autograd."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import torch
from decoder_cases import CASES, VOCABULARY, build

from negkernel import Engine, Intervention
from negkernel.families import registered
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

# Float64 rounding through a few layers; the bound. What is measured is 1e-14.
BUDGET = 1e-9
# Float32 sums of some hundred terms, relative to the largest shift; wrong formulas are far above.
FLOAT32 = 3e-5

# Shorter and longer than every window of the cases; a shared prefix; a prompt inside another.
LONG = np.random.default_rng(11).integers(0, VOCABULARY, 30).tolist()
PROMPTS = [[1, 5, 6, 7, 9], [1, 5, 6, 8], [3], LONG, LONG[:19]]
TARGETS = [[7 + p, 80 - p] for p in range(len(PROMPTS))]
NEURONS = np.array([[2, 7], [0, 1], [1, 5], [3, 43], [1, 6]])
SHIFTS = np.array([-30.0, -2.0, -0.1, 0.1, 2.0])
AXES = ("magnitude", "signed", "scale", "value")

EVERY = [
    pytest.param(model_type, name, id=f"{model_type}: {name}")
    for model_type, cases in CASES.items()
    for name in cases
]


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tiny matrices off the thread pool: starting threads would cost more than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def engine_of(model_type: str, name: str) -> Engine:
    return Engine(build(model_type, CASES[model_type][name]))


def sites_of(engine: Engine) -> tuple[str, ...]:
    return ("up", "gate", "post") if engine.site == "up" else ("post", "pre")


def test_every_registered_family_has_cases():
    assert set(CASES) == set(registered()), "add the family's cases to decoder_cases.py"


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_sweep(model_type, name):
    engine = engine_of(model_type, name)
    # Each site meets some axis in every case, and all pairs over the cases.
    axes = itertools.cycle(AXES)
    for _ in range(list(CASES).index(model_type) % len(AXES)):
        next(axes)
    for site in sites_of(engine):
        options = {"site": site, "axis": next(axes)}
        with exact_float64(engine.model):
            arguments = PROMPTS, TARGETS, NEURONS, SHIFTS
            truth = engine.sweep(*arguments, method="full", **options)
            largest = np.abs(truth.logprob_shift).max()
            moved = np.abs(truth.logprob_shift).max(axis=(0, 1, 3)) > 1e-4 * largest
            # A neuron that relu silences has no magnitude to change; most must count all the same.
            assert moved.mean() > 0.5, "neurons without effect test nothing"
            for method in ("delta", "suffix"):
                sweep = engine.sweep(*arguments, method=method, **options)
                for field, scale in (
                    ("logprob_shift", largest),
                    ("base_logprob", 1),
                    ("activation", 1),
                ):
                    assert_close(
                        getattr(sweep, field),
                        getattr(truth, field),
                        budget=BUDGET,
                        relative_to=scale,
                        what=f"{method} {field} at {site}",
                    )


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_gradients(model_type, name):
    engine = engine_of(model_type, name)
    for site in sites_of(engine):
        with exact_float64(engine.model):
            truth = engine.gradients(PROMPTS, TARGETS, site=site, method="full")
            ours = engine.gradients(PROMPTS, TARGETS, site=site, method="delta")
        largest = np.abs(truth.cg).max()
        assert_close(ours.cg, truth.cg, budget=BUDGET, relative_to=largest, what=f"cg at {site}")
        assert_close(ours.prob, truth.prob, budget=BUDGET)
        assert_close(ours.activation, truth.activation, budget=BUDGET)


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_interventions_in_several_layers(model_type, name):
    engine = engine_of(model_type, name)
    site = sites_of(engine)[1]
    several = [
        Intervention([[0, 3], [2, 5], [2, 9], [3, 1]], [1.0, -2.0, 0.5, 3.0], site=site),
        Intervention([[3, 5], [1, 3]], [1.0, -2.0], axis="value", site=site),
        Intervention([[1, i] for i in range(40)], np.linspace(-3, 3, 40), axis="signed"),
    ]
    with exact_float64(engine.model):
        truth = engine.intervene(PROMPTS, TARGETS, several, method="full").logprob_shift
        ours = engine.intervene(PROMPTS, TARGETS, several, method="delta").logprob_shift
    assert_close(ours, truth, budget=BUDGET, relative_to=np.abs(truth).max())


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_prompts_together_and_alone(model_type, name):
    engine = engine_of(model_type, name)
    together = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")
    largest = np.abs(together.logprob_shift).max()
    for p, (prompt, targets) in enumerate(zip(PROMPTS, TARGETS, strict=True)):
        alone = engine.sweep([prompt], [targets], NEURONS, SHIFTS, method="delta")
        assert_close(
            together.logprob_shift[p], alone.logprob_shift[0], budget=1e-12, relative_to=largest
        )
        assert_close(together.base_logprob[p], alone.base_logprob[0], budget=1e-12)


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_float32(model_type, name):
    """The precision that most models run in, where the compiled kernels may take over."""
    engine = engine_of(model_type, name)
    with exact_float64(engine.model):
        truth = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta").logprob_shift
    engine.model.float()
    ours = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta").logprob_shift
    assert_close(ours, truth, budget=FLOAT32, relative_to=np.abs(truth).max())


UNSERVED = {
    "olmo: clipped projections": ("olmo", {"clip_qkv": 0.5}),
    "gemma2: later tokens": ("gemma2", {"use_bidirectional_attention": True}),
    "falcon: ALiBi": ("falcon", {"alibi": True}),
}


@pytest.mark.parametrize(("model_type", "setting"), UNSERVED.values(), ids=list(UNSERVED))
def test_settings_without_a_delta_form(model_type, setting, caplog):
    """The family refuses them, naming suffix; auto takes suffix and says why."""
    case = next(iter(CASES[model_type].values()))
    engine = Engine(build(model_type, case | setting))
    arguments = PROMPTS, TARGETS, NEURONS, SHIFTS
    with pytest.raises(NotImplementedError, match="suffix"):
        engine.sweep(*arguments, method="delta")
    with caplog.at_level(logging.INFO, logger="negkernel"):
        sweep = engine.sweep(*arguments)
    assert sweep.method in ("generic", "suffix")
    assert f"method {sweep.method}" in caplog.text
    assert model_type in caplog.text
