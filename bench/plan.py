"""What a plan says against what the call takes: eight calls of different kinds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import negkernel
from bench.models import BASE, TINY, Shape, draws, random_llama
from bench.registry import Settings
from bench.report import Record

SMALL = Shape(hidden=256, layers=8, heads=8, kv_heads=4, inner=768, vocabulary=8_000)
BOUNDS = 0.5, 2.0  # of seconds / predicted


@dataclass(frozen=True)
class Call:
    """A question to an engine, priced and then asked.

    Attributes
    ----------
    name : str
    engine : Engine
    prompts, targets : list
    swept : tuple or None
        Neurons and shifts; None asks for gradients.
    resolution : str
    """

    name: str
    engine: negkernel.Engine
    prompts: list[list[int]]
    targets: list[Any]
    swept: tuple[Any, np.ndarray] | None = None
    resolution: str = "grid"

    def measured(self, repeats: int) -> Record:
        """Price it and ask it, by turns; medians of both."""
        given = [*(self.swept or ())]
        how = {"resolution": self.resolution} if self.swept else {}
        ask = self.engine.sweep if self.swept else self.engine.gradients
        ask(self.prompts[:1], self.targets[:1], *given, **how)  # what a process does once
        said, took = [], []
        for _ in range(repeats):
            plan = self.engine.plan(self.prompts, self.targets, *given, **how)
            said.append(plan.seconds or 0.0)
            start = time.perf_counter()
            ask(self.prompts, self.targets, *given, **how)
            took.append(time.perf_counter() - start)
        predicted, seconds = float(np.median(said)), float(np.median(took))
        return Record(
            case=self.name,
            contestant="plan",
            measures={
                "predicted_s": predicted,
                "seconds": seconds,
                "ratio": seconds / predicted,
                "within": BOUNDS[0] <= seconds / predicted <= BOUNDS[1],
            },
            note=str(plan),
        )


def run(settings: Settings) -> list[Record]:
    """Compare the seconds of a plan with those of the call, for each kind of call."""
    return [call.measured(settings.repeats) for call in _calls(settings)]


def _calls(settings: Settings) -> Iterator[Call]:
    small, base, few = (TINY, TINY, 8) if settings.quick else (SMALL, BASE, 1)
    engine = negkernel.Engine(random_llama(small, device=settings.device))
    yield _sweep("many prompts, 8 rows each", engine, small, (400 // few, 10), (4, 2))
    yield _real_or_small(settings, few)
    engine = negkernel.Engine(random_llama(base, device=settings.device))
    yield _sweep("one prompt, 64 tokens", engine, base, (1, 64), (48 // few, 100))
    yield _sweep("one prompt, 400 tokens", engine, base, (1, 400), (24 // few, 100))
    yield _sweep("last layer", engine, base, (1, 64), (48 // few, 100), layer=base.layers - 1)
    spectral = _sweep("spectral", engine, base, (2, 64), (256 // few, 100))
    yield Call(**{**vars(spectral), "resolution": "spectral"})
    asked = _draw(base, (48 // few, 48), 2)
    yield Call("gradients", engine, asked.prompts, asked.targets)
    asked = _draw(base, (24 // few, 240), 2)
    shared = [asked.prompts[0][:200] + own[200:] for own in asked.prompts]
    yield Call("gradients, few-shot", engine, shared, asked.targets)


def _sweep(
    name: str,
    engine: negkernel.Engine,
    shape: Shape,
    prompts: tuple[int, int],
    rows: tuple[int, int],
    layer: int | None = None,
) -> Call:
    """``prompts`` (how many, tokens) with ``rows`` (neurons, shifts) of each."""
    neurons, shifts = rows
    at = torch.arange(neurons) % shape.layers if layer is None else torch.full((neurons,), layer)
    asked = _draw(shape, prompts, 1, at)
    targets = [ids[0] for ids in asked.targets]
    swept = asked.neurons.numpy(), np.linspace(-2, 2, shifts)
    return Call(name, engine, asked.prompts, targets, swept)


def _real_or_small(settings: Settings, few: int) -> Call:
    from neurgrad import demo, real

    if settings.quick or not real.is_prepared("smollm2"):
        engine = demo.load("causal")
        shape = Shape(128, engine.n_layers, 4, 4, engine.n_neurons, 300)
        return _sweep("many prompts, embedded model", engine, shape, (200 // few, 10), (4, 2))
    engine = real.load("smollm2")
    shape = Shape(576, engine.n_layers, 9, 3, engine.n_neurons, 40_000)
    return _sweep("many prompts, SmolLM2-135M", engine, shape, (100, 10), (4, 2))


def _draw(
    shape: Shape, prompts: tuple[int, int], targets: int, layers: torch.Tensor | None = None
) -> Any:
    many, tokens = prompts
    at = torch.empty(0, dtype=torch.int64) if layers is None else layers
    return next(draws(shape, prompts=many, tokens=tokens, targets=targets, layers=at))
