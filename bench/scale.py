"""Rows a second, and bytes of weights read for them: in memory, on disk, in two processes."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import negkernel
from bench.contest import agree
from bench.models import BASE, TINY, Shape, draws, random_llama
from bench.registry import Settings
from bench.report import Record

SHIFTS = np.linspace(-2, 2, 100)
# Two processes cut the rows into other batches, which moves the last bits of float32.
BUDGET = 1e-3
TOKENS = 48
Sweep = Callable[[Any], np.ndarray]


def run(settings: Settings) -> list[Record]:
    """One prompt and more and more neurons of all layers, by each of three ways."""
    shape = TINY if settings.quick else BASE
    records = []
    with _ways(shape, settings) as ways:
        for neurons in (1, 4) if settings.quick else (1, 10, 100):
            layers = torch.arange(neurons) % shape.layers
            draw = next(draws(shape, prompts=1, tokens=TOKENS, targets=1, layers=layers))
            agree({name: sweep(draw) for name, (sweep, _) in ways.items()}, "resident", BUDGET)
            records += _case(draw, ways, settings.repeats)
    return records


def _case(draw: Any, ways: dict[str, tuple[Sweep, negkernel.Engine]], repeats: int) -> list[Record]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (sweep, _) in ways.items():
            start = time.perf_counter()
            sweep(draw)
            took[name].append(time.perf_counter() - start)
    rows, records = len(draw.neurons) * len(SHIFTS), []
    resident = float(np.median(took["resident"]))
    for name, (_, engine) in ways.items():
        asked = draw.prompts, [draw.target], draw.neurons.numpy(), SHIFTS
        plan = engine.plan(*asked, calibrate=False)
        seconds = float(np.median(took[name]))
        read = plan.weight_bytes * plan.passes
        measures = {
            "rows": rows,
            "p50_s": seconds,
            "rows_per_s": rows / seconds,
            "ratio": seconds / resident,
            "passes": plan.passes,
            "read_gb": read / 1e9,
            "read_mb_a_row": read / rows / 1e6,
        }
        records.append(Record(f"{rows:,} rows", name, measures, "passes and bytes of one process"))
    return records


@contextmanager
def _ways(shape: Shape, settings: Settings) -> Iterator[dict[str, tuple[Sweep, negkernel.Engine]]]:
    """Make an engine in memory, one with its layers on disk, and two in processes of their own."""
    from accelerate import dispatch_model

    threads = torch.get_num_threads()
    resident = negkernel.Engine(random_llama(shape, device=settings.device))
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory() as shared:
        lying = random_llama(shape)
        places = {f"model.layers.{index}": "disk" for index in range(shape.layers)}
        ends = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head")
        lying = dispatch_model(
            lying,
            places | dict.fromkeys(ends, settings.device),
            main_device=settings.device,
            offload_dir=disk,
            force_hooks=True,
        )
        elsewhere = negkernel.Engine(lying)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=spawn) as pool:
            runs = iter(range(1 << 30))

            def together(draw: Any) -> np.ndarray:
                folder = Path(shared) / str(next(runs))
                own = max(1, threads // 2)
                both = [
                    pool.submit(_share, shape, draw, str(folder), settings.device, own)
                    for _ in range(2)
                ]
                first, second = (one.result() for one in both)
                assert first.tobytes() == second.tobytes(), "two processes, two results"
                return first

            yield {
                "resident": (_alone(resident), resident),
                "layers on disk": (_alone(elsewhere), elsewhere),
                "two processes": (together, resident),
            }


def _alone(engine: negkernel.Engine) -> Sweep:
    def sweep(draw: Any) -> np.ndarray:
        asked = draw.prompts, [draw.target], draw.neurons.numpy(), SHIFTS
        return engine.sweep(*asked, method="delta").logprob_shift

    return sweep


_ENGINES: dict[Any, negkernel.Engine] = {}  # of a process of the pool


def _share(shape: Shape, draw: Any, folder: str, device: str, threads: int) -> np.ndarray:
    torch.set_num_threads(threads)
    if shape not in _ENGINES:
        _ENGINES[shape] = negkernel.Engine(random_llama(shape, device=device))
    asked = draw.prompts, [draw.target], draw.neurons.numpy(), SHIFTS
    found = _ENGINES[shape].sweep(*asked, method="delta", folder=folder, progress=False)
    return found.logprob_shift
