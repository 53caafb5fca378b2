"""Keep what a run on carried tensors computes in, and which operations it met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch

from negkernel.families.projection import Precision


@dataclass
class Run:
    """One model's forwards on carried tensors.

    Attributes
    ----------
    precision : Precision
        Of base values and differences, and of what products of differences read.
    exact, fallen : Counter of str
        Operations that a rule served, and those that were computed twice and subtracted.
    """

    precision: Precision
    exact: Counter[str] = field(default_factory=Counter)
    fallen: Counter[str] = field(default_factory=Counter)


_run: ContextVar[Run | None] = ContextVar("run", default=None)


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Let operations on carried tensors compute as ``run`` says, and be counted there."""
    token = _run.set(run)
    try:
        yield run
    finally:
        _run.reset(token)


def current() -> Run:
    """Return the run that is under way; one in float32 outside of any."""
    run = _run.get()
    return Run(Precision(torch.float32, torch.float32)) if run is None else run
