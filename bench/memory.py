"""Peak memory of one big sweep, measured in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import negkernel
from bench.models import Shape, draws, random_llama
from bench.report import Record

GOAL_GB = 2.0
SHIFTS = 100


def sweep_memory(shape: Shape, rows: int, device: str) -> Record:
    """Peak memory above the model of a sweep of ``rows`` rows, neurons spread over all layers."""
    threads = torch.get_num_threads()
    # A fresh interpreter: nothing that ran before counts, or hides, what the sweep takes.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        done, peak, seconds = pool.submit(_measure, shape, rows, device, threads).result()
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
        note="largest resident memory during the sweep less that after the model was loaded and "
        "a sweep of 32 rows had run",
    )


def _measure(shape: Shape, rows: int, device: str, threads: int) -> tuple[int, int, float]:
    """Rows swept, peak bytes above the model, seconds."""
    torch.set_num_threads(threads)
    prompts = 8
    engine = negkernel.Engine(random_llama(shape, device=device))
    per_prompt = max(1, rows // (prompts * SHIFTS))
    layers = torch.arange(per_prompt) % shape.layers
    draw = next(draws(shape, prompts=prompts, tokens=48, targets=1, layers=layers))
    targets = [ids[0] for ids in draw.targets]
    shifts = torch.linspace(-2, 2, SHIFTS).numpy()
    neurons = draw.neurons.numpy()
    engine.sweep(draw.prompts[:1], targets[:1], neurons[:1], shifts[:32], method="delta")
    gc.collect()
    before = _resident(device, peak=False)
    start = time.perf_counter()
    sweep = engine.sweep(draw.prompts, targets, neurons, shifts, method="delta")
    seconds = time.perf_counter() - start
    return sweep.rows, _resident(device, peak=True) - before, seconds


def _resident(device: str, *, peak: bool) -> int:
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
