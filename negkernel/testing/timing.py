"""Time callables against each other: interleaved, each round on an input of its own.

Machines are noisy and drift, so contestants run in turn (A B C A B C ...) and are compared round
by round; the middle of the rounds is reported with its spread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

Input = TypeVar("Input")


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant, one value per round."""

    seconds: tuple[float, ...]

    @property
    def p20(self) -> float:
        """20th percentile in seconds."""
        return float(np.percentile(self.seconds, 20))

    @property
    def p50(self) -> float:
        """Median in seconds."""
        return float(np.percentile(self.seconds, 50))

    @property
    def p80(self) -> float:
        """80th percentile in seconds."""
        return float(np.percentile(self.seconds, 80))

    def scaled(self, factor: float) -> Timing:
        """Return every round times ``factor``, for a contestant that did part of the work."""
        return Timing(tuple(factor * one for one in self.seconds))

    def over(self, other: Timing) -> float:
        """Median over the rounds of this time divided by ``other``'s in the same round."""
        return float(np.median(np.divide(self.seconds, other.seconds)))


def interleave(
    contestants: Mapping[str, Callable[[Input], Any]],
    inputs: Sequence[Input],
    device: torch.device | str = "cpu",
) -> dict[str, Timing]:
    """Time each contestant once on each input, taking turns.

    Parameters
    ----------
    contestants : mapping of str to callable
        Each takes one input. They should have run once before: nothing here warms them up.
    inputs : sequence
        One per round. Fresh ones keep a cache of answers from being what is measured.
    device : torch.device or str
        Where the work runs; an accelerator is waited for before and after each call.

    Returns
    -------
    dict of str to Timing
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for one in inputs:
        for name, run in contestants.items():
            _wait(device)
            start = time.perf_counter()
            run(one)
            _wait(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _wait(device: torch.device | str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
