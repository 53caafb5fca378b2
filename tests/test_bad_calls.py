"""Whatever is passed where a number, a word, a path or an object belongs: one clear refusal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from refusals import why_unclear

from negkernel import Engine, Intervention, Sweep
from neurgrad import attribution, demo, plots, probes
from neurgrad.compat import NeurGrad

ASK: dict[str, Any] = {"prompts": ["The capital of France is"], "targets": ["Paris"]}
GRID: dict[str, Any] = {**ASK, "neurons": [[0, 1], [1, 2]], "shifts": [-1.0, 1.0]}

# Fresh at each use, for a generator is used up.
VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "half": lambda: 0.5,
    "more than one": lambda: 1.5,
    "minus one": lambda: -1,
    "zero": lambda: 0,
    "a huge integer": lambda: 10**40,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "a word": lambda: "nonsense",
    "no text": lambda: "",
    "text with NUL": lambda: "a\0b",
    "bytes": lambda: b"delta",
    "an empty list": lambda: [],
    "an empty dict": lambda: {},
    "an empty tuple": lambda: (),
    "a 0-d float": lambda: np.array(3.0),
    "a 0-d integer": lambda: np.array(1),
    "a 0-d text": lambda: np.array("x"),
    "integers": lambda: np.array([1, 2]),
    "floats": lambda: np.array([[0.5, 1.5]]),
    "a NaN array": lambda: np.array([np.nan]),
    "booleans": lambda: np.array([True, False]),
    "an object": object,
    "a class": lambda: dict,
    "a function": lambda: len,
    "a generator": lambda: (one for one in [1]),
    "a dict": lambda: {1: 2},
    "a 0-d tensor": lambda: torch.tensor(1.0),
    "a tensor": lambda: torch.zeros(2, 2),
    "a date": lambda: np.datetime64("2020-01-01"),
    "a complex number": lambda: 1j,
    "a list of None": lambda: [None],
    "a list of a list": lambda: [[]],
    "a mixture": lambda: ["x", None],
    "a set": lambda: {1},
    "a dtype": lambda: torch.float32,
}
TEXTS = "a word", "text with NUL"  # as good as a list of one
PLACE = "None", "zero", "a 0-d integer", "integers"  # all neurons of it, one, or several
NUMBERS = "half", "more than one", "minus one", "zero", "a huge integer"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return demo.load("causal")


@pytest.fixture(scope="module")
def results(engine: Engine) -> dict[str, Any]:
    pair = Intervention([[0, 1], [1, 2]], [1.0, 1.0])
    return {
        "sweep": engine.sweep(**GRID),
        "gradients": engine.gradients(**ASK),
        "map": engine.neg_map(**ASK, radius=1.0, progress=False),
        "interventions": engine.intervene(**ASK, interventions=[pair]),
    }


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    before = os.getcwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def all_refused(call: Callable[[Any], Any], right: tuple[str, ...] = ()) -> None:
    """Fail with a list of the values that were not refused clearly; skip those that are right."""
    unclear = {
        name: why
        for name, value in VALUES.items()
        if name not in right and (why := why_unclear(lambda v=value: call(v())))
    }
    assert not unclear, "\n".join(f"{name}: {why}" for name, why in unclear.items())


ENGINE: dict[str, tuple[Callable[[Engine, Any], Any], tuple[str, ...]]] = {
    "prompts": (lambda e, x: e.rank(x, ["Paris"]), TEXTS),
    "targets": (lambda e, x: e.rank(ASK["prompts"], x), ("a generator",)),
    "neurons": (lambda e, x: e.sweep(**{**GRID, "neurons": x}), ()),
    "shifts": (lambda e, x: e.sweep(**{**GRID, "shifts": x}), ("integers",)),
    "axis": (lambda e, x: e.sweep(**GRID, axis=x), ()),
    "site": (lambda e, x: e.sweep(**GRID, site=x), ()),
    "method": (lambda e, x: e.sweep(**GRID, method=x), ()),
    "resolution": (lambda e, x: e.sweep(**GRID, resolution=x), ()),
    "tol": (lambda e, x: e.sweep(**GRID, tol=x), ("half",)),
    "metrics": (lambda e, x: e.sweep(**GRID, metrics=x), ("an empty list", "an empty tuple")),
    "mask_index": (lambda e, x: e.sweep(**GRID, mask_index=x), ("None",)),
    "target_encoding": (lambda e, x: e.sweep(**GRID, target_encoding=x), ()),
    "log": (lambda e, x: e.gradients(**ASK, log=x), ("True",)),
    "method of gradients": (lambda e, x: e.gradients(**ASK, method=x), ()),
    "site of a stream": (lambda e, x: list(e.stream_gradients(**ASK, site=x)), ()),
    "scales": (lambda e, x: e.path_gradients(**ASK, scales=x), ("integers",)),
    "norm": (lambda e, x: e.direct_effects(**ASK, norm=x), ()),
    "calibrate": (lambda e, x: e.plan(**GRID, calibrate=x), ("True",)),
    "radius": (lambda e, x: e.neg_map(**ASK, radius=x), ("half", "more than one")),
    "tol of a map": (lambda e, x: e.neg_map(**ASK, tol=x), ("half",)),
    "progress": (lambda e, x: e.neg_map(**ASK, progress=x), ("None", "True")),
    "folder": (lambda e, x: e.neg_map(**ASK, folder=x), ("None", "a word")),
    "sources": (lambda e, x: e.patch(sources=x, **ASK, neurons=[[0, 1]]), TEXTS),
    "neurons of a patch": (
        lambda e, x: e.patch(sources=ASK["prompts"], **ASK, neurons=x),
        ("None",),
    ),
    "site of a patch": (lambda e, x: e.patch(sources=ASK["prompts"], **ASK, site=x), ()),
    "folder of a patch": (
        lambda e, x: e.patch(sources=ASK["prompts"], **ASK, folder=x),
        ("None", "a word"),
    ),
    "an ablation's shifts": (
        lambda e, x: e.sweep(**{**GRID, "shifts": x}, axis="zero_ablation"),
        ("None",),
    ),
    "a place": (lambda e, x: e.sweep(**{**GRID, "neurons": {"blocks.0.mlp.hook_post": x}}), PLACE),
    "interventions": (lambda e, x: e.intervene(**ASK, interventions=x), ()),
    "amounts": (lambda e, x: Intervention(GRID["neurons"], x), ("integers",)),
    "neurons of an intervention": (lambda e, x: Intervention(x, [1.0, 1.0]), ()),
    "axis of an intervention": (lambda e, x: Intervention([[0, 1]], [1.0], axis=x), ()),
    "method_for": (lambda e, x: e.method_for(x), ()),
    "model": (lambda e, x: Engine(x), ()),
    "tokenizer": (lambda e, x: Engine(e.model, x), ("None",)),
    "task": (lambda e, x: Engine(e.model, task=x), ("None",)),
    "memory_budget": (
        lambda e, x: Engine(e.model, memory_budget=x),
        ("None", "half", "more than one", "a huge integer"),
    ),
    "gemm_dtype": (lambda e, x: Engine(e.model, gemm_dtype=x), ("None", "a dtype")),
}


@pytest.mark.parametrize("what", ENGINE)
def test_the_engine(engine: Engine, elsewhere: Path, what: str):
    call, right = ENGINE[what]
    all_refused(lambda value: call(engine, value), right)


@pytest.mark.parametrize("kind", ["sweep", "gradients", "map", "interventions"])
def test_files_of_results(results: dict[str, Any], elsewhere: Path, kind: str):
    (elsewhere / "a folder").mkdir()
    all_refused(results[kind].save, ("a word",))
    all_refused(type(results[kind]).load)
    for call in (results[kind].save, type(results[kind]).load):
        assert why_unclear(lambda call=call: call(elsewhere / "a folder")) is None
        assert why_unclear(lambda call=call: call("no/such/folder/file")) is None
        assert why_unclear(lambda call=call: call("x" * 5000)) is None


def test_statistics_and_tables(results: dict[str, Any]):
    all_refused(results["sweep"].linear, NUMBERS)
    all_refused(results["map"].linear, NUMBERS)
    all_refused(results["gradients"].neurgrad, NUMBERS)
    all_refused(results["gradients"].top)
    all_refused(lambda value: results["gradients"].to_frame(top=value), ("None",))


@pytest.mark.parametrize("score", ["cg", "neurgrad", "integrated_gradients", "lpi"])
def test_attribution(engine: Engine, score: str):
    function = getattr(attribution, score)
    all_refused(lambda value: function(value, **ASK))
    all_refused(lambda value: function(engine, value, ASK["targets"]), TEXTS)
    all_refused(lambda value: function(engine, ASK["prompts"], value), ("a generator",))


def test_options_of_attribution(engine: Engine):
    all_refused(lambda value: attribution.integrated_gradients(engine, **ASK, steps=value))
    all_refused(lambda value: attribution.integrated_gradients(engine, **ASK, path=value))
    all_refused(lambda value: attribution.neurgrad(engine, **ASK, threshold=value), NUMBERS)
    all_refused(lambda value: attribution.lpi(engine, **ASK, norm=value))


def test_pictures(results: dict[str, Any], elsewhere: Path):
    sweep, axes = results["sweep"], Figure().subplots(2)
    one, two = (plots.neg_histogram, plots.activation_against_neg), plots.layer_profile
    for draw in (*one, plots.sweep_curves):
        all_refused(lambda value, draw=draw: draw(value, ax=axes[0]))
        all_refused(lambda value, draw=draw: draw(sweep, ax=value), ("None",))
    all_refused(lambda value: two(value, axes=axes))
    all_refused(lambda value: two(sweep, axes=value), ("None",))
    all_refused(lambda value: plots.neg_histogram(sweep, bins=value, ax=axes[0]))
    all_refused(lambda value: plots.sweep_curves(sweep, value, ax=axes[0]), ("zero",))
    all_refused(lambda value: plots.sweep_curves(sweep, 0, value, ax=axes[0]), ("a huge integer",))
    all_refused(lambda value: plots.sweep_curves(sweep, 0, 1, target=value), ("zero",))
    all_refused(lambda value: plots.draw_all(value, "figures"))
    all_refused(lambda value: plots.draw_all(sweep, value), ("a word",))
    (elsewhere / "file").touch()
    assert why_unclear(lambda: plots.draw_all(sweep, "file")) is None


@pytest.mark.parametrize("probe", [probes.PolarProbe, probes.MagnProbe])
def test_probes_of_gradients(probe: Callable[..., Any]):
    X, y = np.random.default_rng(0).normal(size=(8, 2, 5)), np.array([0, 1] * 4)
    fitted = probe().fit(X, y)
    all_refused(lambda value: probe(value).fit(X, y), ("None",))
    all_refused(lambda value: probe(negatives=value).fit(X, y), ("True",))
    all_refused(lambda value: probe().fit(value, y))
    all_refused(lambda value: probe().fit(X, value))
    all_refused(fitted.predict)
    sizes = ("None", "integers", "a list of None")
    all_refused(lambda value: fitted.accuracy_by_size(X, y, value), sizes)
    all_refused(lambda value: probes.MagnProbe(rule=value).fit(X, y))


COMPAT: dict[str, tuple[Callable[[NeurGrad, Any], Any], tuple[str, ...]]] = {
    "method": (lambda n, x: n.get_scores("The capital", "Paris", attribution_method=x), ()),
    "label": (lambda n, x: n.encode_token(x), ()),
    "threshold": (lambda n, x: n.get_neg_per_prompt("The capital", "Paris", x), NUMBERS),
    "mode": (lambda n, x: n.modify_activations(["The"], ["Paris"], [(0, 1)], mode=x), ()),
    "volume": (
        lambda n, x: n.enhance_knowledge(["The"], ["Paris"], [(0, 1)], None, None, x),
        ("half", "more than one", "zero"),
    ),
    "neurons": (lambda n, x: n.enhance_knowledge(["The"], ["Paris"], x), ()),
    "changes": (lambda n, x: n.modify_activations(["The"], ["Paris"], [(0, 1)], pos_changes=x), ()),
    "scores": (lambda n, x: n.get_topk_neurons(x), ()),
    "sampled scores": (lambda n, x: n.get_sampled_neurons(x, 1), ()),
    "model": (lambda n, x: NeurGrad(x, n.tokenizer, "llama3"), ()),
    "model_type": (lambda n, x: NeurGrad(n.model, n.tokenizer, x), ()),
}


@pytest.mark.parametrize("what", COMPAT)
def test_compat(engine: Engine, what: str):
    call, right = COMPAT[what]
    ngrad = NeurGrad(engine.model, engine.tokenizer, "llama3")
    all_refused(lambda value: call(ngrad, value), right)


def test_demo():
    all_refused(demo.load)
    all_refused(demo.prompts)


def test_the_check_knows_an_error_that_fell_through(engine: Engine):
    for call in (
        lambda: np.zeros(3)[5],
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: int("x"),
        lambda: Sweep.load,
        lambda: engine.n_neurons.missing,  # type: ignore[attr-defined]
    ):
        assert why_unclear(call) is not None
