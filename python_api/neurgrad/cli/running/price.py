"""Price the tables of a study before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from neurgrad import steering
from neurgrad.analysis import ARTEFACTS, enhancement, linearity, many_neurons, precision
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.study import Settings

if TYPE_CHECKING:
    from negkernel import Engine

FEW = 8  # prompts of the sweep that is priced for all


def price(
    engine: Engine,
    prompts: Sequence[str],
    answers: Sequence[str],
    names: Sequence[str],
    settings: Settings,
) -> pd.DataFrame:
    """Count the shifted forwards of every table, and their seconds by a trial of a few.

    Returns
    -------
    DataFrame
        ``table``, ``prompts``, ``rows``, ``seconds`` (an estimate; gradients of IG and LPI are not
        in it), ``for`` (artefacts).
    """
    n = len(prompts)
    few = slice(FEW)
    some = random_neurons(engine, len(prompts[few]), settings.neurons, settings.seed)
    # What the first sweep of a process pays for would be taken for the price of all.
    engine.sweep(prompts[:1], answers[:1], some[0, :2], settings.shifts[:2], **settings.how)
    plan = engine.plan(
        prompts[few], answers[few], some, settings.shifts, resolution="spectral", **settings.how
    )
    per_curve = plan.rows / some[..., 0].size
    seconds = (plan.seconds or 0.0) / plan.rows
    together = len(many_neurons.RANGES) * many_neurons.STEPS
    counts = sum(k <= len(engine.neurons) for k in many_neurons.COUNTS)
    aims = len(precision.WANTED) * sum(k <= len(engine.neurons) for k in precision.COUNTS)
    steered = aims * (steering.ROWS + steering.OTHERS)
    lists = len(settings.estimators) * len(enhancement.COUNTS) * len(enhancement.SHIFTS)
    few_of = settings.map_prompts, settings.range_prompts, settings.many_prompts or n
    mapped, ranged, many = (min(n, of) for of in few_of)
    curves = {
        "random": (n, settings.neurons * per_curve),
        "strongest": (n, settings.neurons * per_curve),
        "ranges": (ranged, min(linearity.NEURONS, len(engine.neurons)) * per_curve),
        "every": (mapped, len(engine.neurons) * per_curve),
        "enhanced": (n, lists),
        "together": (many, counts * together),
        "steered": (many, steered),
    }
    rows = []
    for table, (of, each) in curves.items():
        users = [name for name in names if table in ARTEFACTS[name].needs]
        if users:
            total = round(of * each)
            rows.append((table, of, total, round(total * seconds, 1), ", ".join(users)))
    return pd.DataFrame(rows, columns=["table", "prompts", "rows", "seconds", "for"])
