"""Spectral sweeps and maps against the grid: what they leave out, and whether they say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import negkernel
from bench.models import TINY, Draw, Shape, draws, random_llama
from bench.registry import Settings
from bench.report import Record
from negkernel.families import Precision
from negkernel.spectral import row_eps
from negkernel.spectral.estimate import rounding
from negkernel.testing.timing import interleave

SHAPE = Shape(hidden=768, layers=12, heads=12, kv_heads=12, inner=2048, vocabulary=32_000)
TOL = 1e-3
WITHIN, HONEST, INFLATION, ROWS, MAP_ROWS = 0.999, 0.99, 100.0, 5.0, 2.6
# Measures of a map that a sweep has none of; the file's columns are those of the first record.
OF_MAPS = ("within_stated", "stated_within_tol", "over_spectral")
# The promise is that an error is at most three times its estimate.
MARGIN = 3.0


def run(settings: Settings) -> list[Record]:
    """101 shifts of neurons all over the model, within 2 and within 10."""
    shape = TINY if settings.quick else SHAPE
    neurons, exact = (24, 12) if settings.quick else (1000, 200)
    layers = torch.arange(neurons) % shape.layers
    draw = next(draws(shape, prompts=1, tokens=32, targets=1, layers=layers))
    model = random_llama(shape, device=settings.device)
    truth = random_llama(shape, dtype=torch.float64, device=settings.device)
    truth.load_state_dict(model.state_dict())
    curves = [_record(model, truth, draw, exact, radius, settings) for radius in (2.0, 10.0)]
    return [*curves, _map_record(model, draw, settings)]


def _record(
    model: Any, truth: Any, draw: Draw, exact: int, radius: float, settings: Settings
) -> Record:
    """Compare NEG with the float32 grid's, and the curves of ``exact`` neurons with float64."""
    shifts = np.linspace(-radius, radius, 101, dtype=np.float32)
    found: dict[str, negkernel.Sweep] = {}

    def sweep(model: Any, resolution: str, n: int) -> negkernel.Sweep:
        neurons = draw.neurons[:n].numpy()
        return negkernel.Engine(model).sweep(
            draw.prompts, [draw.target], neurons, shifts, resolution=resolution, tol=TOL
        )

    def keep(resolution: str) -> None:
        found[resolution] = sweep(model, resolution, len(draw.neurons))

    names = ("spectral", "grid")
    for name in names:
        sweep(model, name, 8)
    runs = {name: (lambda _, name=name: keep(name)) for name in names}
    times = interleave(runs, range(1), settings.device)
    spectral, grid = found["spectral"], found["grid"]
    relative = np.abs(spectral.neg() - grid.neg()) / np.abs(grid.neg())
    within = float((relative <= TOL).mean())

    true = sweep(truth, "grid", exact).logprob_shift[0]
    error = np.abs(spectral.logprob_shift[0, :exact] - true).max(-1)
    estimate = spectral.error[0].astype(np.float64)
    honest = float((error <= MARGIN * estimate[:exact]).mean())
    inflation = estimate[:exact] / error
    # Where rounding alone is estimated, the ratio says how a bound compares with luck.
    above = (estimate > 2 * _floor(spectral))[:exact]
    rows = spectral.rows / len(draw.neurons)
    median = float(np.median(inflation[above])) if above.any() else None
    return Record(
        f"+-{radius:g}, {len(draw.neurons):,} neurons x {len(shifts)} shifts",
        "negkernel spectral",
        {
            "neg_within_tol": within,
            "within_goal": WITHIN,
            "within_reached": within >= WITHIN,
            "honest": honest,
            "honest_goal": HONEST,
            "honest_reached": honest >= HONEST,
            "inflation": median,
            "inflation_of_all": float(np.median(inflation)),
            "inflation_goal": INFLATION,
            "inflation_reached": None if median is None else median <= INFLATION,
            "rows_a_neuron": rows,
            "rows_goal": ROWS if radius == 2 else None,
            "rows_reached": rows <= ROWS if radius == 2 else None,
            "seconds": times["spectral"].p50,
            "over_grid": times["grid"].over(times["spectral"]),
            **dict.fromkeys(OF_MAPS),
        },
        note=f"tol {TOL:g}; NEG against the float32 grid; errors of {exact} neurons against the "
        f"float64 grid; honest: within {MARGIN:g} estimates; inflation: median of estimate over "
        f"error, of the {above.mean():.0%} above the rounding floor",
    )


def _map_record(model: Any, draw: Draw, settings: Settings) -> Record:
    """Map every neuron, and compare those of the draw with their grid and their spectral sweep."""
    engine = negkernel.Engine(model)
    shifts = np.linspace(-2, 2, 101, dtype=np.float32)
    found: dict[str, Any] = {}

    def sweep(resolution: str) -> None:
        found[resolution] = engine.sweep(
            draw.prompts,
            [draw.target],
            draw.neurons.numpy(),
            shifts,
            resolution=resolution,
            tol=TOL,
        )

    def whole() -> None:
        found["map"] = engine.neg_map(draw.prompts, [draw.target], tol=TOL, progress=False)

    runs = {name: (lambda _, name=name: sweep(name)) for name in ("grid", "spectral")}
    times = interleave(runs | {"map": lambda _: whole()}, range(1), settings.device)
    mapped, neurons = found["map"], len(draw.neurons)
    layer, index = draw.neurons.numpy().T
    error = np.abs(mapped.neg[0, layer, index] - found["grid"].neg()[0])
    median = np.nanmedian(np.abs(mapped.neg), axis=-1, keepdims=True)
    asked = TOL * np.maximum(np.abs(mapped.neg), 0.01 * median)
    each = times["map"].p50 / mapped.neg.size
    rows = mapped.rows / mapped.neg.size
    return Record(
        f"+-2, all {mapped.neg.size:,} neurons",
        "negkernel neg_map",
        {
            "rows_a_neuron": rows,
            "rows_goal": MAP_ROWS,
            "rows_reached": rows <= MAP_ROWS,
            "within_stated": float((error <= mapped.neg_error[0, layer, index]).mean()),
            "stated_within_tol": float((mapped.neg_error <= asked).mean()),
            "seconds": times["map"].p50,
            "over_spectral": times["spectral"].p50 / neurons / each,
            "over_grid": times["grid"].p50 / neurons / each,
        },
        note=f"tol {TOL:g}; neurons by rows: {mapped.row_histogram()}; errors and seconds of a "
        f"neuron against the grid and the spectral sweep of {neurons}",
    )


def _floor(sweep: negkernel.Sweep) -> np.ndarray:
    """What the sweep puts down to rounding: [N] in nats."""
    height = np.abs(sweep.logprob_shift[0]).max(-1)[:, None]
    eps = row_eps(Precision(torch.float32, torch.float32))
    return rounding(height, sweep.base_logprob[:1], eps, 0.0)[:, 0]
