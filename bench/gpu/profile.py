"""Say where a warm sweep's time goes on a GPU: kernels by name, launches, and gaps between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

from bench.gpu.models import OURS, Subject
from bench.report import Record

TOP = 12


def profile(subject: Subject) -> list[Record]:
    """Profile one sweep; of each of the slowest kernels its share and how often it was launched.

    On a CPU, where there are no kernels to see, operators take their place.
    """
    s = subject
    draw = s.rounds(torch.arange(s.neurons) % s.shape.layers)[0]
    request = draw.prompts, [draw.target], draw.neurons.numpy(), np.linspace(-2, 2, s.shifts)
    s.engine.sweep(*request, method="delta")
    on_gpu = torch.device(s.device).type == "cuda"
    kind = torch.profiler.ProfilerActivity.CUDA if on_gpu else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[kind]) as profiler:
        s.engine.sweep(*request, method="delta")
    events = [
        (event.name, event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if not on_gpu or event.device_type == torch.autograd.DeviceType.CUDA
    ]
    return [_whole(s.name, events), *_slowest(s.name, events)]


def _whole(name: str, events: list[tuple[str, float, float]]) -> Record:
    begun, ended = min(e[1] for e in events), max(e[2] for e in events)
    busy = busy_time((start, end) for _, start, end in events)
    measures = {
        "span_ms": (ended - begun) / 1e3,
        "busy_ms": busy / 1e3,
        "idle": 1 - busy / max(ended - begun, 1e-9),
        "launches": len(events),
    }
    return Record(f"{name}, one warm sweep", OURS, measures, "idle: share of the span in gaps")


def _slowest(name: str, events: list[tuple[str, float, float]]) -> list[Record]:
    spent: Counter[str] = Counter()
    launches = Counter(event for event, _, _ in events)
    for event, start, end in events:
        spent[event] += end - start
    total = sum(spent.values())
    return [
        Record(
            f"{name}, {kernel[:80]}",
            OURS,
            {"ms": time / 1e3, "share": time / total, "launches": launches[kernel]},
        )
        for kernel, time in spent.most_common(TOP)
    ]


def busy_time(spans: Iterable[tuple[float, float]]) -> float:
    """Time covered by at least one of ``spans`` (start, end)."""
    busy, until = 0.0, -float("inf")
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy
