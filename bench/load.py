"""How much longer a sweep and gradients take while other programs want the same cores.

Threads that wait for each other spin or sleep as the environment said when torch was imported, so
each contestant is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bench.peers.models import Models
from bench.registry import Settings
from bench.report import Record

# The goal: with as much again to do for the machine, no more than so many times as long.
GOAL = 2.5
# Ends by itself, should nobody be left to end it.
BUSY = "import time; end = time.time() + 300\nwhile time.time() < end: pass"
POLICIES: dict[str, dict[str, str]] = {
    "threads that spin": {},
    "threads that sleep": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def run(settings: Settings) -> list[Record]:
    """Time both alone, then beside a program for each core: ratios are over spinning, alone."""
    found = {name: _asked(settings, extra) for name, extra in POLICIES.items()}
    spinning = found["threads that spin"]
    records = []
    for case in ("sweep", "gradients"):
        for name, seconds in found.items():
            alone, beside = seconds[case]
            ratio = beside / spinning[case][0]
            measures = {"alone_s": alone, "seconds": beside, "ratio": ratio, "goal": GOAL}
            note = f"{seconds['note']}, {seconds['threads']} threads"
            records.append(Record(case, name, measures | {"reached": ratio <= GOAL}, note))
    return records


def _asked(settings: Settings, extra: dict[str, str]) -> dict[str, Any]:
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    threads = extra.get("OMP_NUM_THREADS", str(torch.get_num_threads()))
    call = [sys.executable, "-m", "bench.load", str(int(settings.quick)), str(settings.repeats)]
    done = subprocess.run(
        call,
        env=kept | extra | {"OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@contextmanager
def _busy() -> Iterator[None]:
    """A program at work for each core."""
    cores = range(len(os.sched_getaffinity(0)))
    others = [subprocess.Popen([sys.executable, "-S", "-c", BUSY]) for _ in cores]
    try:
        time.sleep(0.2)
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


def _measured(quick: bool, repeats: int) -> dict[str, Any]:
    models = Models(quick=quick)
    ids, layer = list(range(100, 116)), models.model.config.num_hidden_layers // 3
    neurons = np.stack([np.full(8, layer), np.arange(8)], 1)
    shifts = np.linspace(-2, 2, 4 if quick else 100)
    calls: dict[str, Callable[[], Any]] = {
        "sweep": lambda: models.engine.sweep([ids], [5], neurons, shifts),
        "gradients": lambda: models.engine.gradients([ids], [[5, 6, 7, 8]]),
    }

    def seconds(call: Callable[[], Any]) -> float:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    for call in calls.values():
        call()
    alone = {name: seconds(call) for name, call in calls.items()}
    with _busy():
        beside = {name: seconds(call) for name, call in calls.items()}
    found: dict[str, Any] = {name: (alone[name], beside[name]) for name in calls}
    return found | {"note": models.note, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1] == "1", int(sys.argv[2]))))
