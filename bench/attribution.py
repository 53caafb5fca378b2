"""Scores of all neurons, each against the way it is usually computed: IG, LPI and NEG."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch

import negkernel
from bench.contest import Contestant, contest
from bench.memory import peak_above, with_peak
from bench.models import BASE, TINY, Draw, Shape, draws, random_llama
from bench.opponents.full_softmax import full_softmax, last_states
from bench.opponents.stepwise_gradients import stepwise_gradients
from bench.registry import Settings
from bench.report import Record
from neurgrad.attribution import integrated_gradients, lpi

STEPS = 20
MAPPED = Shape(hidden=768, layers=12, heads=12, kv_heads=12, inner=2048, vocabulary=32_000)
NONE = torch.empty(0, dtype=torch.int64)
LPI_PEAK_GB = 1.0
# Of the largest score, for the same sums of float32 numbers in another order.
IG_BUDGET = 1e-5
# The opponent subtracts log-probs of size 10, rounded at 1e-6, and the largest increase is 1e-2.
LPI_BUDGET = 5e-4
TOL = 1e-3


def run(settings: Settings) -> list[Record]:
    """Integrated gradients, log-probability increase, then the map of NEG."""
    shape = TINY if settings.quick else BASE
    # Nobody needs gradients of weights, the opponents least.
    model = random_llama(shape, device=settings.device).requires_grad_(False)
    peak = peak_above(_prepare_lpi, shape, settings.device, device=settings.device)[1]
    return [
        *with_peak(_integrated(model, shape, settings), None, None),
        *with_peak(_increase(model, shape, settings), peak, LPI_PEAK_GB),
        *with_peak(_map(TINY if settings.quick else MAPPED, settings), None, None),
    ]


def _integrated(model: Any, shape: Shape, settings: Settings) -> list[Record]:
    engine = negkernel.Engine(model)
    # Their backward gets shorter layer by layer: these are as long as the average.
    layers = np.linspace(0, shape.layers - 1, 4).round().astype(int).tolist()

    def ours(draw: Draw) -> np.ndarray:
        return integrated_gradients(engine, draw.prompts, [draw.target], steps=STEPS)[0, layers]

    def stepwise(draw: Draw) -> np.ndarray:
        return stepwise_gradients(model, draw.tokens, draw.target, layers, STEPS).cpu().numpy()

    return contest(
        f"integrated gradients, {STEPS} steps, 48 tokens",
        [
            Contestant("negkernel", ours, note=f"{shape}; all layers"),
            Contestant(
                "a layer at a time",
                stepwise,
                work=len(layers) / shape.layers,
                goal=30.0,
                note=f"full forwards and backwards batched by {STEPS}; timed on layers "
                f"{', '.join(map(str, layers))} and scaled to {shape.layers}",
            ),
        ],
        list(
            islice(draws(shape, prompts=1, tokens=48, targets=1, layers=NONE), settings.repeats + 1)
        ),
        truth="a layer at a time",
        budget=IG_BUDGET,
        rows=shape.layers * STEPS,
        device=settings.device,
    )


def _increase(model: Any, shape: Shape, settings: Settings) -> list[Record]:
    engine = negkernel.Engine(model)
    prompts, layers = 8, [0, shape.layers - 1]
    rounds = list(
        islice(
            draws(shape, prompts=prompts, tokens=48, targets=1, layers=NONE),
            min(settings.repeats, 2) + 1,
        )
    )
    # The opponent's forwards are made beforehand and cost it nothing.
    states = {id(draw): last_states(model, draw.prompts[0]) for draw in rounds}

    def ours(draw: Draw) -> np.ndarray:
        return lpi(engine, draw.prompts, [ids[0] for ids in draw.targets])[0, layers]

    def softmax(draw: Draw) -> np.ndarray:
        return full_softmax(model, states[id(draw)], draw.targets[0][0], layers).cpu().numpy()

    return contest(
        f"log-probability increase, {prompts} prompts of 48 tokens",
        [
            Contestant("negkernel", ours, note=f"{shape}; frozen norm, all layers"),
            Contestant(
                "a full softmax a layer",
                softmax,
                work=len(layers) / (prompts * shape.layers),
                goal=4.0,
                note=f"prompt by prompt; timed on {len(layers)} layers of one prompt and scaled, "
                "its forwards not counted",
            ),
        ],
        rounds,
        truth="a full softmax a layer",
        budget=LPI_BUDGET,
        rows=prompts * shape.layers * shape.inner,
        device=settings.device,
    )


def _map(shape: Shape, settings: Settings) -> list[Record]:
    """NEG of every neuron against the grid, which is timed on a sample of neurons."""
    model = random_llama(shape, device=settings.device)
    engine = negkernel.Engine(model)
    n_sampled = 8 if settings.quick else 64
    total = shape.layers * shape.inner
    flat = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:n_sampled]
    sample = torch.stack([flat // shape.inner, flat % shape.inner], 1).numpy()
    grid = np.linspace(-2, 2, 101)
    rounds = list(islice(draws(shape, prompts=1, tokens=32, targets=1, layers=NONE), 2))

    def ours(draw: Draw) -> np.ndarray:
        neg = engine.neg_map(draw.prompts, [draw.target], tol=TOL, progress=False).neg
        return neg[0, sample[:, 0], sample[:, 1]]

    def on_grid(draw: Draw) -> np.ndarray:
        return engine.sweep(draw.prompts, [draw.target], sample, grid).neg()[0]

    return contest(
        f"NEG of {total:,} neurons, 32 tokens",
        [
            Contestant("neg_map", ours, note=f"{shape}; +-2, tol {TOL:g}; rows as the grid's"),
            Contestant(
                "the grid, same engine",
                on_grid,
                work=n_sampled / total,
                goal=15.0,
                note=f"100 shifts; timed on {n_sampled} random neurons and scaled to {total:,}",
            ),
        ],
        rounds,
        truth="the grid, same engine",
        budget=TOL,
        rows=100 * total,
        device=settings.device,
    )


def _prepare_lpi(shape: Shape, device: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    engine = negkernel.Engine(random_llama(shape, device=device))
    draw = next(draws(shape, prompts=8, tokens=48, targets=1, layers=NONE))
    targets = [ids[0] for ids in draw.targets]

    def small() -> None:
        engine.gradients(draw.prompts[:1], targets[:1])

    return small, lambda: lpi(engine, draw.prompts, targets).size
