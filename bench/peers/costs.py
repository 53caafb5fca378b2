"""Measure what a call costs: CPU seconds, wall, memory; and how much code it takes to write."""

from __future__ import annotations

import ctypes
import inspect
import io
import time
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.memory import resident

_SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
# Linux forgets the peak of a process when 5 is written here.
_FORGET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """Seconds of all threads, seconds on the wall, and bytes above those held before; or None."""

    cpu: float
    wall: float
    peak: int | None


def measured(call: Callable[[], Any]) -> tuple[Any, Cost]:
    """What ``call`` returns, and its cost."""
    before = _forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = None if before is None else resident("cpu", peak=True) - before
    return value, Cost(cpu, wall, peak)


def _forget_peak() -> int | None:
    """Give free memory back, so that it is counted when it is taken again: bytes held now."""
    if not _FORGET.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    _FORGET.write_text("5")
    return resident("cpu", peak=False)


def code_lines(*objects: Any) -> int:
    """Lines of classes, functions or modules with code in them: no comments, no docstrings."""
    lines: set[tuple[int, int]] = set()
    for i, one in enumerate(objects):
        source, fresh = io.StringIO(inspect.getsource(one)), True
        for token in tokenize.generate_tokens(source.readline):
            if token.type in _SKIPPED:
                fresh = fresh or token.type == tokenize.NEWLINE
                continue
            if not (fresh and token.type == tokenize.STRING):
                lines |= {(i, line) for line in range(token.start[0], token.end[0] + 1)}
            fresh = False
    return len(lines)
