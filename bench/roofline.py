"""The whole sweep against the rate of a large matrix product, counted on useful FLOPs."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import negkernel
from bench.ceilings import ceilings
from bench.contest import agree
from bench.models import BASE, TINY, Draw, Shape, draws, random_llama
from bench.opponents.hooks import hooks_rows
from bench.registry import Settings
from bench.report import Record
from bench.sweep import BUDGET, HOOKS, OURS
from negkernel.testing.timing import interleave

GEMM_GOAL = 0.75
# MKL's and oneDNN's, by the names that torch gives them.
PRODUCTS = {
    *("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    *("mkldnn::_linear_pointwise", "aten::mkldnn_linear", "aten::_scaled_mm"),
}


def run(settings: Settings) -> list[Record]:
    """One prompt of 48 and of 200 tokens, neurons of one layer: how near the sweep is to GEMMs."""
    shape = TINY if settings.quick else BASE
    neurons, shifts = (4, 25) if settings.quick else (32, 100)
    model = random_llama(shape, device=settings.device)
    best = ceilings(settings.device, torch.float32, quick=settings.quick)
    layers = torch.full((neurons,), 6 * shape.layers // 16)
    return [
        sweep_record(model, shape, layers, shifts, tokens, best.gemm, settings)
        for tokens in (48, 200)
    ]


def sweep_flops(shape: Shape, layers: torch.Tensor, shifts: int, tokens: int) -> float:
    """Useful FLOPs of a sweep: of each row's single token, from the layer above its neuron on.

    The base computation, padding and anything done twice are no use, so they are left out.
    """
    size = shape.hidden // shape.heads
    projections = shape.hidden * (2 * shape.heads + 2 * shape.kv_heads) * size
    weights = projections + 3 * shape.hidden * shape.inner
    attention = 2 * tokens * shape.heads * size
    above = float((shape.layers - 1 - layers).sum())
    per_shift = (
        above * 2 * (weights + attention) + len(layers) * 2 * shape.hidden * shape.vocabulary
    )
    return shifts * per_shift


def sweep_record(
    model: Any,
    shape: Shape,
    layers: torch.Tensor,
    shifts: int,
    tokens: int,
    gemm: float,
    settings: Settings,
) -> Record:
    """Time one sweep, after some of its rows agreed with full forwards."""
    engine = negkernel.Engine(model)
    grid = torch.linspace(-2, 2, shifts)
    rounds = draws(shape, prompts=1, tokens=tokens, targets=1, layers=layers)

    def sweep(draw: Draw) -> Any:
        neurons = draw.neurons.numpy()
        return engine.sweep(draw.prompts, [draw.target], neurons, grid.numpy(), method="delta")

    inputs = list(islice(rounds, settings.repeats + 1))
    first = inputs[0]
    errors = _agreement(model, first, grid, sweep(first).logprob_shift[0])
    time = interleave({OURS: sweep}, inputs[1:], settings.device)[OURS]
    flops = sweep_flops(shape, layers, shifts, tokens)
    share = products_share(lambda: sweep(first), settings.device)
    return Record(
        f"{tokens} tokens, {len(layers) * shifts:,} rows",
        OURS,
        {
            "repeats": len(time.seconds),
            "p20_s": time.p20,
            "p50_s": time.p50,
            "p80_s": time.p80,
            "tflop": flops / 1e12,
            "tflop_per_s": flops / time.p50 / 1e12,
            "of_gemm": flops / time.p50 / gemm,
            "products": share,
            "goal": GEMM_GOAL,
            "reached": share >= GEMM_GOAL,
            "error": errors[OURS],
        },
        note=f"{shape}; of_gemm: useful FLOPs over {gemm / 1e12:.3g} TFLOP/s of a large product; "
        "products: share of a call's wall time inside matrix products, the goal's measure",
    )


def _agreement(model: Any, draw: Draw, grid: torch.Tensor, ours: Any) -> dict[str, float]:
    """Hold the last shift of up to 8 neurons against full forwards."""
    neurons = draw.neurons[:8]
    amounts = grid[-1:].expand(len(neurons))
    truth = hooks_rows(model, draw.tokens, draw.target, neurons, amounts).numpy()
    return agree({HOOKS: truth, OURS: ours[: len(neurons), -1]}, HOOKS, BUDGET)


def products_share(work: Any, device: str) -> float:
    """Share of the wall time of ``work`` that matrix products take.

    Our C++ ops are calls that the profiler does not see, so the sum of what it saw is no whole to
    take a share of. The time between start and end is, and holds the profiler's own price too.
    """
    on_gpu = torch.device(device).type == "cuda"
    activities = {ProfilerActivity.CPU} | ({ProfilerActivity.CUDA} if on_gpu else set())
    with profile(activities=activities) as profiled:
        start = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize(device)
        wall = time.perf_counter() - start
    kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    times = {event.key: getattr(event, kind) for event in profiled.key_averages()}
    return sum(times[key] for key in PRODUCTS & times.keys()) / 1e6 / wall
