"""Enter everyone into the gradients: four labels in all neurons, and along a path of scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.opponents.hooks import plain_forward
from bench.opponents.peers import prefix
from bench.opponents.peers.gradients import captum_gradients, last_token_graph
from bench.opponents.peers.integrated import captum_integrated
from bench.opponents.reference_gradients import reference_gradients
from bench.opponents.stepwise_gradients import stepwise_gradients
from bench.peers.asks import LABELS, Asks
from bench.peers.case import Case, Entrant
from bench.peers.models import Models, missing
from negkernel.testing.exact import exact_float64
from neurgrad.attribution import integrated_gradients

# Of the largest gradient; float32 sums over the same layers in other orders, 1e-5 of it.
BUDGET = 1e-3
STEPS = 20
# captum's trapezoid gives half the weight to the two ends of a path, a twentieth each of 20 steps.
TRAPEZOID = 0.2
PROMPTS = 8


def labels(models: Models, asks: Asks) -> Iterator[Case]:
    """Yield W3 for one prompt, and for eight with and without a shared beginning."""
    (short, long), exact = asks.lengths, models.exact()
    for length, goal in ((short, None), (long, 1.5)):
        yield _labels(models, exact, asks, [asks.prompt(length, 0)], f"1 x {length} tokens", goal)
    distinct = [asks.prompt(long, seed) for seed in range(PROMPTS)]
    shared = [distinct[0][:-short] + one[-short:] for one in distinct]
    name = f"{PROMPTS} x {long} tokens"
    yield _labels(models, exact, asks, distinct, f"{name}, distinct", 2.2)
    yield _labels(models, exact, asks, shared, f"{name}, one beginning", None)


def integrated(models: Models, asks: Asks) -> Iterator[Case]:
    """Yield W4 for a short and a long prompt."""
    exact = models.exact()
    for length in asks.lengths:
        yield _integrated(models, exact, asks, length)


def _labels(
    models: Models, exact: Any, asks: Asks, prompts: list[list[int]], name: str, goal: float | None
) -> Case:
    """Compare on the first prompt."""
    model, targets = models.model, [asks.labels(prompt) for prompt in prompts]

    def ours() -> np.ndarray:
        return models.engine.gradients(prompts, targets).cg

    def each(
        gradients: Callable[[Any, list[int], list[int]], Tensor], some: int
    ) -> Callable[[], np.ndarray]:
        def answer() -> np.ndarray:
            asked = list(zip(prompts, targets, strict=True))[:some]
            return torch.stack([gradients(model, *one) for one in asked]).numpy()

        return answer

    def prefill() -> None:
        plain_forward(model, prompts)

    part: dict[str, Any] = {"pick": _first, "work": 1 / len(prompts)}
    note = "" if len(prompts) == 1 else "timed on one prompt and scaled"
    absent = missing("captum")
    captum = None if absent else each(captum_gradients, 1)
    hand, code = each(last_token_graph, len(prompts)), (last_token_graph, prefix.prefix_cache)
    paper = each(reference_gradients, 1)
    with exact_float64(exact):
        right = reference_gradients(exact, prompts[0], targets[0]).numpy()
    entrants = [
        Entrant("negkernel", ours, pick=_first, code=(ours,), note=models.note),
        Entrant("last-token graph by hand", hand, pick=_first, code=code, goal=goal),
        Entrant("the paper's code", paper, code=(reference_gradients,), note=note, **part),
        Entrant("captum", captum, code=(captum_gradients,), note=absent or note, **part),
        Entrant("prefill alone", prefill, note="the prompts in one forward, without gradients"),
    ]
    if len(prompts) == 1:  # which warms everyone up for the other cases, too
        entrants = [replace(one, check=one.answer) for one in entrants]
    return Case(f"W3, {name}: {LABELS} labels", entrants, right, BUDGET)


def _integrated(models: Models, exact: Any, asks: Asks, length: int) -> Case:
    """Compare on one layer, which is half way up: its backward is as long as the average."""
    model, prompt, layer = models.model, asks.prompt(length, 0), asks.layers // 2
    (target,) = asks.labels(prompt, 1)

    def ours() -> np.ndarray:
        return integrated_gradients(models.engine, [prompt], [target], steps=STEPS)[0]

    def stepwise() -> np.ndarray:
        return stepwise_gradients(model, prompt, target, [layer], STEPS)[0].numpy()

    def captum(*, prefix: bool) -> Callable[[], np.ndarray]:
        return lambda: captum_integrated(model, prompt, target, layer, STEPS, prefix=prefix).numpy()

    absent = missing("captum")
    note = f"timed on one layer of {asks.layers} and scaled"
    trapezoid = f"{note}; its rule halves the ends of the path" if absent is None else absent
    with exact_float64(exact):
        right = stepwise_gradients(exact, prompt, target, [layer], STEPS)[0].numpy()
    options: dict[str, Any] = {"work": 1 / asks.layers}
    entrants = [
        Entrant("negkernel", ours, pick=lambda found: found[layer], code=(ours,), note=models.note),
        Entrant("a layer at a time", stepwise, code=(stepwise_gradients,), note=note, **options),
    ]
    options |= {"budget": TRAPEZOID, "note": trapezoid}
    options |= {"code": (captum_integrated, prefix.prefix_cache, prefix.copies)}
    for name, kept in (("captum, prefix KV", True), ("captum", False)):
        entrants.append(Entrant(name, None if absent else captum(prefix=kept), **options))
    name = f"W4, {length} tokens: integrated gradients of all neurons, {STEPS} steps"
    return Case(name, entrants, right, BUDGET)


def _first(found: np.ndarray) -> np.ndarray:
    first: np.ndarray = found[0]
    return first
