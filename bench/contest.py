"""A contest: the contestants must agree before any of them is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report import Record, Value
from negkernel.testing.compare import assert_close
from negkernel.testing.timing import Timing, interleave


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Attributes
    ----------
    name : str
    run : callable
        Takes one round's input and returns the values that contestants must agree on, or None
        where there is nothing to agree on (a plain forward).
    work : float
        How much of the whole work ``run`` does; its times are divided by it.
    goal : float or None
        Least acceptable ratio of this contestant's time to the first one's.
    counted : bool
        Whether the work is counted in rows at all; a plain forward's is not.
    rows : int or None
        Rows it computes, where these are not those of the whole work.
    budget : float or None
        Its own budget, where it promises less than the others.
    note : str
        For the report.
    """

    name: str
    run: Callable[[Any], np.ndarray | None]
    work: float = 1.0
    goal: float | None = None
    counted: bool = True
    rows: int | None = None
    budget: float | None = None
    note: str = ""


def agree(
    values: Mapping[str, np.ndarray | None],
    truth: str,
    budget: float,
    own: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Hold every contestant's values against those of ``truth``.

    Parameters
    ----------
    values : mapping of str to ndarray or None
        By contestant; None has nothing to compare.
    budget : float
        Allowed error of each element, as a fraction of the largest true value.
    own : mapping of str to float, optional
        Budgets of contestants that have one of their own.

    Returns
    -------
    dict of str to float
        Largest error of each contestant as such a fraction.

    Raises
    ------
    AssertionError
        Naming the contestant, the worst element and both values.
    """
    expected = values[truth]
    assert expected is not None
    scale = float(np.abs(expected).max())
    errors = {}
    for name, actual in values.items():
        if actual is None or name == truth:
            continue
        allowed = (own or {}).get(name, budget)
        assert_close(actual, expected, budget=allowed, relative_to=scale, what=f"{name} vs {truth}")
        errors[name] = float(np.abs(actual - expected).max()) / scale
    return errors


def contest(
    case: str,
    contestants: Sequence[Contestant],
    inputs: Sequence[Any],
    *,
    truth: str,
    budget: float,
    rows: int,
    device: str,
) -> list[Record]:
    """Let ``contestants`` agree on the first input, then time them on the others.

    The first contestant is ours: the others' ratios are their times over its time.

    Parameters
    ----------
    inputs : sequence
        One for the agreement, which warms everybody up, and one for each timed round.
    truth : str
        The contestant that the others are held against, see :func:`agree`.
    rows : int
        Rows of the whole work, for rows a second.
    """
    runs = {one.name: one.run for one in contestants}
    own = {one.name: one.budget for one in contestants if one.budget is not None}
    errors = agree({name: run(inputs[0]) for name, run in runs.items()}, truth, budget, own)
    seconds = interleave(runs, inputs[1:], device)
    times = {one.name: seconds[one.name].scaled(1 / one.work) for one in contestants}
    ours = times[contestants[0].name]
    return [
        Record(
            case,
            one.name,
            _measures(times[one.name], ours, (one.rows or rows) if one.counted else None, one.goal)
            | {"error": errors.get(one.name)},
            one.note,
        )
        for one in contestants
    ]


def _measures(time: Timing, ours: Timing, rows: int | None, goal: float | None) -> dict[str, Value]:
    ratio = time.over(ours)
    return {
        "repeats": len(time.seconds),
        "p20_s": time.p20,
        "p50_s": time.p50,
        "p80_s": time.p80,
        "rows": rows,
        "rows_per_s": None if rows is None else rows / time.p50,
        "ratio": ratio,
        "goal": goal,
        "reached": None if goal is None else ratio >= goal,
    }
