"""Heads and directions: against hooks written by hand, and every family against whole forwards."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from decoder_cases import CASES, VOCABULARY, build
from hooked import MODULES, logprob, with_head, with_vector
from transformers import BertConfig, BertForMaskedLM

from negkernel import Directions, Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

# Float64 rounding through a few layers; what is measured is 1e-14.
BUDGET = 1e-9
# Float32 sums of some hundred terms, relative to the largest shift.
FLOAT32 = 3e-5
PLACES = ("residual", "mlp_out", "attention_out")
LONG = np.random.default_rng(11).integers(0, VOCABULARY, 14).tolist()
PROMPTS = [[1, 5, 6, 7, 9], [3], LONG]
TARGETS = [[7 + p, 80 - p] for p in range(len(PROMPTS))]
AMOUNTS = [-1.0, 0.7, 3.0]
POSITIONS = (None, 0, "all")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_of(kind):
    if kind != "bert":
        return build(kind, next(iter(CASES[kind].values())))
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=VOCABULARY, num_hidden_layers=4, **sizes)
    return BertForMaskedLM(config).double().eval()


class Mask:
    mask_token_id = 4

    def decode(self, ids):
        return " ".join(map(str, ids))


def engine_of(kind):
    model = model_of(kind)
    return Engine(model, Mask()) if kind == "bert" else Engine(model)


def prompts_of(engine):
    """Prompts, and where each is read."""
    if engine.task == "causal":
        return PROMPTS, [len(p) - 1 for p in PROMPTS]
    return [[*p[:2], 4, *p[2:]] for p in PROMPTS], [len(p[:2]) for p in PROMPTS]


def heads_of(engine):
    return engine.model.config.get_text_config().num_attention_heads


def hidden_of(engine):
    return engine.model.config.get_text_config().hidden_size


def some_directions(engine, place):
    vectors = np.random.default_rng(5).normal(size=(5, hidden_of(engine)))
    return Directions([3, 0, 1, 2, 1], vectors, at=place)


def by_hand(engine, prompts, read, apply):
    """Changes of the targets' log-probs, [P, K, ...], of what ``apply(p)`` puts on."""
    out = []
    for p, (tokens, at) in enumerate(zip(prompts, read, strict=True)):
        base = logprob(engine.model, tokens, at)
        rows = []
        for put_on in apply(p):
            take_off = put_on()
            rows.append((logprob(engine.model, tokens, at) - base)[TARGETS[p]].numpy())
            take_off()
        out.append(np.array(rows).T)
    return np.array(out)


@pytest.mark.parametrize("kind", MODULES)
def test_heads_by_hand(kind):
    engine, n_heads = engine_of(kind), heads_of(engine_of(kind))
    prompts, read = prompts_of(engine)
    heads = np.array([[0, 0], [1, n_heads - 1], [3, 1]])
    with exact_float64(engine.model):
        truth = by_hand(
            engine,
            prompts,
            read,
            lambda p: [
                lambda a=a, pair=pair: with_head(engine.model, kind, *pair, n_heads, 1 + a, read[p])
                for pair in heads.tolist()
                for a in AMOUNTS
            ],
        ).reshape(len(prompts), 2, len(heads), len(AMOUNTS))
        ours = engine.sweep(
            prompts, TARGETS, heads, AMOUNTS, site="head", axis="scale", method="delta"
        )
        ablated = engine.sweep(prompts, TARGETS, heads, axis="zero_ablation", site="head")
    largest = np.abs(truth).max()
    assert_close(ours.logprob_shift, truth, budget=BUDGET, relative_to=largest)
    assert_close(ablated.logprob_shift, truth[..., :1], budget=BUDGET, relative_to=largest)


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("place", PLACES)
def test_directions_by_hand(kind, place):
    engine = engine_of(kind)
    prompts, read = prompts_of(engine)
    given = some_directions(engine, place)
    vectors = torch.from_numpy(given.vectors)
    with exact_float64(engine.model):
        truth = by_hand(
            engine,
            prompts,
            read,
            lambda p: [
                lambda a=a, n=n: with_vector(
                    engine.model, kind, int(given.layers[n]), place, a * vectors[n], read[p]
                )
                for n in range(len(given))
                for a in AMOUNTS
            ],
        ).reshape(len(prompts), 2, len(given), len(AMOUNTS))
        ours = engine.sweep(prompts, TARGETS, given, AMOUNTS, method="delta")
    assert_close(ours.logprob_shift, truth, budget=BUDGET, relative_to=np.abs(truth).max())
    assert (ours.axis, ours.site) == ("signed", place)
    np.testing.assert_array_equal(ours.neurons, [[3, 0], [0, 1], [1, 2], [2, 3], [1, 4]])


@pytest.mark.parametrize("kind", [*CASES, "bert"])
def test_every_family(kind):
    """Each family against whole forwards, its places, axes and positions in turn."""
    engine = engine_of(kind)
    prompts, _ = prompts_of(engine)
    turn = [*CASES, "bert"].index(kind)
    heads = np.array([[0, 0], [1, heads_of(engine) - 1], [3, 1]])
    position = POSITIONS[turn % 3]
    with exact_float64(engine.model):
        both = [
            engine.sweep(
                prompts,
                TARGETS,
                heads,
                AMOUNTS,
                site="head",
                axis="scale",
                method=method,
                position=position,
            )
            for method in ("full", "delta")
        ]
        agree(*both, fields=("logprob_shift", "activation"))
        for place, axis in zip(PLACES, itertools.cycle(("signed", "scale", "value")), strict=False):
            given = some_directions(engine, place).take([0, 2, 4])
            both = [
                engine.sweep(
                    prompts, TARGETS, given, AMOUNTS, axis=axis, method=m, position=position
                )
                for m in ("full", "delta")
            ]
            agree(*both, fields=("logprob_shift", "activation"))
        place = PLACES[turn % 3]
        for what in ({"site": "head"}, {"neurons": some_directions(engine, place).take([0, 2, 4])}):
            both = [
                engine.gradients(prompts, TARGETS, method=m, position=position, **what)
                for m in ("full", "delta")
            ]
            agree(*both, fields=("cg", "activation"))


@pytest.mark.parametrize("kind", ["llama", "gptj", "gemma2", "bert"])
def test_interventions_in_several_layers(kind):
    engine = engine_of(kind)
    prompts, _ = prompts_of(engine)
    given = [some_directions(engine, place) for place in PLACES]
    several = [Intervention(one, [1.0, -2.0, 0.5, 1.0, 0.3]) for one in given]
    several += [Intervention(one.take([1, 3]), [0.0, 2.0], axis="value") for one in given]
    several += [
        Intervention([[0, 1], [2, 0], [2, 1]], [-1.0, 0.5, -1.0], axis="scale", site="head"),
        Intervention([[1, 0], [3, 1]], [0.0, 0.0], axis="value", site="head"),
        Intervention([[1, 3], [2, 5]], [1.0, -1.0]),
    ]
    methods = ("full", "delta", "suffix") if engine.task == "causal" else ("full", "delta")
    with exact_float64(engine.model):
        truth, *others = (engine.intervene(prompts, TARGETS, several, method=m) for m in methods)
    for ours in others:
        agree(truth, ours, fields=("logprob_shift",))


def agree(truth, ours, fields):
    for field in fields:
        expected = getattr(truth, field)
        largest = np.nanmax(np.abs(expected))
        assert_close(getattr(ours, field), expected, budget=BUDGET, relative_to=largest, what=field)


def test_spectral_neg_and_map():
    engine = engine_of("llama")
    given = some_directions(engine, "residual")
    given = Directions(given.layers, 0.2 * given.vectors)
    shifts = np.linspace(-2, 2, 41)
    with exact_float64(engine.model):
        grid, spectral = (
            engine.sweep(PROMPTS, TARGETS, given, shifts, resolution=how)
            for how in ("grid", "spectral")
        )
        slope = engine.gradients(PROMPTS, TARGETS, given)
        tiny = engine.sweep(PROMPTS, TARGETS, given, [-1e-5, 1e-5]).neg()
        heads = engine.neg_map(PROMPTS, TARGETS, site="head", axis="scale", radius=1.0)
        one = engine.sweep(
            PROMPTS, TARGETS, [[2, 3]], heads_grid(), site="head", axis="scale"
        ).neg()
    assert spectral.rows < grid.rows / 2
    assert_close(spectral.logprob_shift, grid.logprob_shift, budget=float(spectral.error.max()))
    assert_close(tiny, slope.cg, budget=1e-6, relative_to=np.abs(slope.cg).max())
    assert heads.neg.shape == (3, 2, 4, heads_of(engine))
    assert_close(heads.neg[..., 2, 3], one[..., 0], budget=1e-3, relative_to=np.abs(one).max())
    frame = slope.to_frame(top=2)
    assert len(frame) == 3 * 2 * 2
    assert frame["cg"].abs().max() == np.abs(slope.cg).max()


def heads_grid():
    grid = np.linspace(-1, 1, 101)
    return grid[grid != 0]


def test_float32():
    engine = engine_of("llama")
    asked = {"heads": ([[0, 0], [2, 3]], {"site": "head", "axis": "scale"})}
    asked |= {place: (some_directions(engine, place), {}) for place in PLACES}
    for neurons, how in asked.values():
        engine.model.double()
        with exact_float64(engine.model):
            truth = engine.sweep(PROMPTS, TARGETS, neurons, AMOUNTS, method="delta", **how)
        engine.model.float()
        ours = engine.sweep(PROMPTS, TARGETS, neurons, AMOUNTS, method="delta", **how)
        largest = np.abs(truth.logprob_shift).max()
        assert_close(ours.logprob_shift, truth.logprob_shift, budget=FLOAT32, relative_to=largest)
