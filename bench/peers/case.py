"""Hold one contest: agreement with float64 first, then rounds in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.contest import agree
from bench.peers.costs import Cost, code_lines, measured
from bench.report import Record, Value


@dataclass(frozen=True)
class Entrant:
    """One way to do the work.

    Attributes
    ----------
    name : str
    answer : callable or None
        Without arguments: an array, or None where there is nothing to agree on. None itself
        where the library is missing.
    check : callable, optional
        The same for a small part of the work, where that is enough to agree on and to warm up.
    pick : callable, optional
        Takes the answer to the cells that all are compared on.
    code : tuple
        What a user has to write.
    work : float
        Share of the whole work that ``answer`` does; its costs are divided by it.
    goal : float or None
        Least acceptable ratio of its CPU seconds to the first entrant's.
    budget : float or None
        Its own budget, where it promises less than the others.
    note : str
        For the report: what is missing, what is scaled.
    """

    name: str
    answer: Callable[[], Any] | None
    check: Callable[[], Any] | None = None
    pick: Callable[[Any], np.ndarray] | None = None
    code: tuple[Any, ...] = ()
    work: float = 1.0
    goal: float | None = None
    budget: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A question, who answers it (the first is ours), and the float64 values ``truth``.

    ``floor`` is the error allowed in any cell, in the unit of the values: the rounding of a whole
    float32 forward, which small values drown in. ``budget`` is a fraction of the largest value.
    """

    name: str
    entrants: list[Entrant]
    truth: np.ndarray
    budget: float
    floor: float = 0.0


def held(case: Case, rounds: int) -> list[Record]:
    """Let those who are there agree, then answer in turn; their costs are medians of rounds."""
    present = [one for one in case.entrants if one.answer is not None]
    _agreed(case, {one.name: _picked(one, one.check()) for one in present if one.check})
    costs: dict[str, list[Cost]] = {one.name: [] for one in present}
    errors: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        values = {}
        for one in present:
            assert one.answer is not None
            value, cost = measured(one.answer)
            values[one.name] = _picked(one, value)
            costs[one.name].append(cost)
        errors = _agreed(case, values)  # what was timed is what is right
    ours = _median(costs[present[0].name], "cpu") / present[0].work
    return [
        _record(case, one, costs.get(one.name), errors.get(one.name), ours) for one in case.entrants
    ]


def _picked(one: Entrant, value: Any) -> Any:
    return value if one.pick is None or value is None else one.pick(value)


def _agreed(case: Case, values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Errors of all cells by entrant, as fractions of the true values."""
    largest = float(np.abs(case.truth).max())
    own = {one.name: one.budget for one in case.entrants if one.budget is not None}
    budget = max(case.budget, case.floor / largest)
    agree({**values, "float64": case.truth}, "float64", budget, own)
    return {name: np.abs(value - case.truth) for name, value in values.items() if value is not None}


def _record(
    case: Case, one: Entrant, costs: list[Cost] | None, error: np.ndarray | None, ours: float
) -> Record:
    cpu = None if costs is None else _median(costs, "cpu") / one.work
    ratio = None if cpu is None else cpu / ours
    peaks = [cost.peak for cost in costs or [] if cost.peak is not None]
    relative = None if error is None else error / np.abs(case.truth)
    measures: dict[str, Value] = {
        "cpu_s": cpu,
        "wall_s": None if costs is None else _median(costs, "wall") / one.work,
        "ratio": ratio,
        "goal": one.goal,
        "reached": None if one.goal is None or ratio is None else ratio >= one.goal,
        "peak_mb": max(peaks) / 1e6 if peaks else None,
        "lines": code_lines(*one.code) if one.code else None,
        "error": None if error is None else float(error.max() / np.abs(case.truth).max()),
        "median_error": None if relative is None else float(np.median(relative)),
    }
    return Record(case.name, one.name, measures, one.note)


def _median(costs: list[Cost], name: str) -> float:
    return float(np.median([getattr(cost, name) for cost in costs]))
