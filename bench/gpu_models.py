"""Sweeps and gradients of Llamas of real shapes with random weights, held against full forwards."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch

import negkernel
from bench.ceilings import ceilings
from bench.models import Draw, Shape, draws, random_llama
from bench.opponents.hooks import BATCH, hooks_rows, plain_forward
from bench.report import Record
from bench.roofline import sweep_flops
from negkernel.results.statistics import neg, prob_shift
from negkernel.testing.exact import exact_float64
from negkernel.testing.timing import interleave

LLAMA_2_7B = Shape(4096, 32, 32, 32, 11_008, 32_000)
LLAMA_3_1_8B = Shape(4096, 32, 32, 8, 14_336, 128_256)

GOALS = {"of_gemm": 0.60, "over_full": 90.0, "gradients_over_forward": 1.2, "scratch_gb": 6.0}
CORRELATION = 0.999
# Below this the sweep computes something else: bf16 operands alone leave 0.9999 on a CPU.
WRONG = 0.99


@contextmanager
def built_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Let modules make their weights on ``device`` in ``dtype``: a 7B model does so in seconds."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def model_records(
    name: str, shape: Shape, *, neurons: int, shifts: int, repeats: int, device: str, quick: bool
) -> list[Record]:
    """Sweep ``neurons`` over all layers, then gradients; bf16 weights, prompts of 64 tokens."""
    with built_on(device, torch.bfloat16):
        model = random_llama(shape, dtype=torch.bfloat16, device=device)
    engine = negkernel.Engine(model)
    layers = torch.arange(neurons) % shape.layers
    rounds = draws(shape, prompts=1, tokens=64, targets=1, layers=layers)
    inputs = list(islice(rounds, repeats + 1))
    grid = np.linspace(-2, 2, shifts)
    rate = ceilings(device, torch.bfloat16, quick=quick).gemm
    fidelity = _fidelity(name, model, engine, inputs[0])  # raises before anything is timed
    return [
        _sweep(name, model, engine, shape, layers, grid, inputs, rate, device),
        _gradients(name, model, engine, shape, 2 if quick else 32, repeats, device),
        fidelity,
    ]


def _sweep(
    name: str,
    model: Any,
    engine: Any,
    shape: Shape,
    layers: torch.Tensor,
    grid: np.ndarray,
    inputs: list[Draw],
    rate: float,
    device: str,
) -> Record:
    rows = len(layers) * len(grid)
    some = torch.arange(min(BATCH, len(layers)))

    def sweep(draw: Draw) -> np.ndarray:
        result = engine.sweep(
            draw.prompts, [draw.target], draw.neurons.numpy(), grid, method="delta"
        )
        return result.logprob_shift[0]

    def full(draw: Draw) -> np.ndarray:
        amounts = torch.full((len(some),), float(grid[-1]))
        return hooks_rows(model, draw.tokens, draw.target, draw.neurons[some], amounts).numpy()

    sweep(inputs[0]), full(inputs[0])
    weights = _allocated(device, peak=False)
    times = interleave({"sweep": sweep, "full": full}, inputs[1:], device)
    scratch = _allocated(device, peak=True) - weights
    seconds = times["sweep"].p50
    over_full = times["full"].scaled(rows / len(some)).over(times["sweep"])
    of_gemm = sweep_flops(shape, layers, len(grid), 64) / seconds / rate
    return Record(
        f"{name}, 64 tokens, {len(layers):,} neurons x {len(grid)} shifts, bf16",
        "negkernel delta",
        {
            "seconds": seconds,
            "rows_per_s": rows / seconds,
            "gemm_tflop_per_s": rate / 1e12,
            "of_gemm": of_gemm,
            "of_gemm_reached": of_gemm >= GOALS["of_gemm"],
            "over_full": over_full,
            "over_full_reached": over_full >= GOALS["over_full"],
            "scratch_gb": scratch / 1e9,
            "scratch_gb_reached": scratch / 1e9 <= GOALS["scratch_gb"],
        },
        note=f"full forwards timed on {len(some)} rows in one batch and scaled",
    )


def _gradients(
    name: str, model: Any, engine: Any, shape: Shape, prompts: int, repeats: int, device: str
) -> Record:
    none = torch.empty(0, dtype=torch.int64)
    inputs = list(islice(draws(shape, prompts=prompts, tokens=64, targets=1, layers=none), repeats))
    contestants = {
        "ours": lambda draw: engine.gradients(draw.prompts, [t[0] for t in draw.targets]),
        "forward": lambda draw: plain_forward(model, draw.prompts),
    }
    for run in contestants.values():
        run(inputs[0])
    times = interleave(contestants, inputs, device)
    price = times["ours"].over(times["forward"])
    return Record(
        f"{name}, gradients of one label, {prompts} prompts of 64 tokens, bf16",
        "negkernel delta",
        {
            "seconds": times["ours"].p50,
            "gradients_over_forward": price,
            "gradients_over_forward_reached": price <= GOALS["gradients_over_forward"],
        },
    )


def _fidelity(name: str, model: Any, engine: Any, draw: Draw) -> Record:
    """NEG of a few neurons against float64 full forwards of the same weights."""
    neurons, grid = draw.neurons[:16], np.linspace(-2, 2, 5)
    ours = engine.sweep(draw.prompts, [draw.target], neurons.numpy(), grid, method="delta").neg()[0]
    which = neurons.repeat_interleave(len(grid), 0)
    amounts = torch.from_numpy(grid).repeat(len(neurons))
    with exact_float64(copy.deepcopy(model).double()) as exact:
        base = plain_forward(exact, draw.prompts)[0].double().log_softmax(-1)[draw.target]
        change = hooks_rows(exact, draw.tokens, draw.target, which, amounts)
    shifts = prob_shift(base.cpu().numpy(), change.view(len(neurons), -1).numpy())
    correlation = float(np.corrcoef(ours, neg(grid, shifts))[0, 1])
    assert correlation >= WRONG, f"{name}: NEG correlates with float64 by only {correlation:.4f}"
    return Record(
        f"{name}, NEG of {len(neurons)} neurons against float64",
        "negkernel delta",
        {"correlation": correlation, "correlation_reached": correlation >= CORRELATION},
    )


def _allocated(device: str, *, peak: bool) -> int:
    """Bytes that torch holds on a GPU, now or at most; 0 elsewhere."""
    if torch.device(device).type != "cuda":
        return 0
    if peak:
        return torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
