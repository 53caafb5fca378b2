"""Time small parts of a job, and tell from them how long all of it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 0.4  # a trial that takes so much longer than the smallest one is trusted
ROWS = 2048  # of one trial: fill a batch
FEW = 64  # rows of a prompt up to which several prompts are tried at once

Size = tuple[int, int]  # prompts, rows of each


@dataclass(frozen=True)
class Trial:
    """What short runs of a job have told.

    Attributes
    ----------
    seconds : float
        Of all of it.
    bound : int or None
        Rows from which on arithmetic takes longer than reading the weights once; None where no
        rows were timed.
    """

    seconds: float
    bound: int | None = None


def try_out(run: Callable[[Size], object], cost: Callable[[Size], float], whole: Size) -> Trial:
    """Time parts of growing size.

    Parameters
    ----------
    run : callable
        ``run((p, r))`` computes r rows each of the first p prompts.
    cost : callable
        The FLOPs of that.
    whole : (int, int)
        All prompts, and all rows of each.

    Returns
    -------
    Trial
    """
    P, R = whole
    small = min(R, FEW)
    run((1, 1))  # whatever a process does once
    seconds = _timed(run, (1, 1))
    one = seconds
    rows, of_rows = _grown(run, lambda n: (1, n), 1, min(R, ROWS), one)
    bound = None
    if rows > 1:
        per_row = _slope(one, of_rows) / (rows - 1)
        bound = max(1, round((one - per_row) / per_row))
    # A FLOP of a prompt that joins others, and one of a further row of a prompt.
    within = _rate(one, of_rows, cost((1, rows)) - cost((1, 1)))
    start = one if small == 1 else _timed(run, (1, small))
    prompts, of_prompts = _grown(run, lambda n: (n, small), 1, P, start)
    across = _rate(start, of_prompts, cost((prompts, small)) - cost((1, small)))
    total = start + across * (cost((P, small)) - cost((1, small)))
    total += within * (cost(whole) - cost((P, small)))
    return Trial(total, bound)


def _grown(
    run: Callable[[Size], object], size: Callable[[int], Size], n: int, most: int, seconds: float
) -> tuple[int, float]:
    """The first n that takes well over ``seconds``, or ``most``: four times as much each time.

    What the smallest part takes may be long by itself, and tells nothing of the rest.
    """
    start = seconds
    while n < most and seconds - start < SECONDS:
        n = min(4 * n, most)
        seconds = _timed(run, size(n))
    return n, seconds


def _slope(few: float, many: float) -> float:
    """Seconds that more work took; on a busy machine the small part may be the slower one."""
    return max(many - few, 0.1 * many)


def _rate(few: float, many: float, flops: float) -> float:
    return _slope(few, many) / flops if flops > 0 else 0.0


def _timed(run: Callable[[Size], object], size: Size) -> float:
    start = time.perf_counter()
    run(size)
    return time.perf_counter() - start
