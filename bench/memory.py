"""Peak memory of one big call, measured in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import negkernel
from bench.models import Shape, draws, random_llama
from bench.report import Record, Value

GOAL_GB = 2.0
SHIFTS = 100
HOW = (
    "peak: largest resident memory during the call less that after the model was loaded and "
    "a small call had run, in a process of its own"
)
# Builds a model and returns a small call, which warms it up, and the call that is measured.
Prepare = Callable[..., tuple[Callable[[], Any], Callable[[], Any]]]


def peak_above(prepare: Prepare, *arguments: Any, device: str) -> tuple[Any, int, float]:
    """What the big call of ``prepare(*arguments)`` returns, its peak above the model, seconds.

    ``prepare`` is a function of a module and ``arguments`` travel to another process.
    """
    threads = torch.get_num_threads()
    # A fresh interpreter: nothing that ran before counts, or hides, what the call takes.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(_measure, prepare, arguments, device, threads).result()


def with_peak(records: Sequence[Record], peak: int | None, goal_gb: float | None) -> list[Record]:
    """Return ``records`` with columns for peak memory, the first one's filled in if known."""
    out = []
    for i, record in enumerate(records):
        known = None if i or peak is None else peak / 1e9
        reached = None if known is None or goal_gb is None else known <= goal_gb
        columns: dict[str, Value] = {
            "peak_gb": known,
            "peak_goal_gb": None if known is None else goal_gb,
            "peak_reached": reached,
        }
        note = record.note if known is None else f"{record.note}; {HOW}"
        out.append(replace(record, measures=record.measures | columns, note=note))
    return out


def sweep_memory(shape: Shape, rows: int, device: str) -> Record:
    """Peak memory above the model of a sweep of ``rows`` rows, neurons spread over all layers."""
    done, peak, seconds = peak_above(_sweep, shape, rows, device, device=device)
    return Record(
        case=f"{done:,} rows, vocabulary {shape.vocabulary:,}",
        contestant="negkernel delta",
        measures={
            "rows": done,
            "seconds": seconds,
            "rows_per_s": done / seconds,
            "peak_gb": peak / 1e9,
            "goal_gb": GOAL_GB,
            "reached": peak / 1e9 <= GOAL_GB,
        },
        note=HOW,
    )


def _sweep(shape: Shape, rows: int, device: str) -> tuple[Callable[[], Any], Callable[[], int]]:
    prompts = 8
    engine = negkernel.Engine(random_llama(shape, device=device))
    per_prompt = max(1, rows // (prompts * SHIFTS))
    layers = torch.arange(per_prompt) % shape.layers
    draw = next(draws(shape, prompts=prompts, tokens=48, targets=1, layers=layers))
    targets = [ids[0] for ids in draw.targets]
    shifts = torch.linspace(-2, 2, SHIFTS).numpy()
    neurons = draw.neurons.numpy()

    def small() -> None:
        engine.sweep(draw.prompts[:1], targets[:1], neurons[:1], shifts[:32], method="delta")

    def big() -> int:
        return engine.sweep(draw.prompts, targets, neurons, shifts, method="delta").rows

    return small, big


def _measure(
    prepare: Prepare, arguments: tuple[Any, ...], device: str, threads: int
) -> tuple[Any, int, float]:
    torch.set_num_threads(threads)
    small, big = prepare(*arguments)
    small()
    gc.collect()
    before = resident(device, peak=False)
    start = time.perf_counter()
    result = big()
    seconds = time.perf_counter() - start
    return result, resident(device, peak=True) - before, seconds


def resident(device: str, *, peak: bool) -> int:
    """Bytes of memory in use now, or at most so far.

    Linux's own count of this process: ``ru_maxrss`` starts at what the parent held when it forked,
    which would hide the difference. The peak so far includes loading the model, so that the
    difference can only be overstated.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():
        raise NotImplementedError(
            f"{status} is missing: peak memory on a CPU is read from it, which needs Linux; "
            "leave out --rows"
        )
    name = "VmHWM:" if peak else "VmRSS:"
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
