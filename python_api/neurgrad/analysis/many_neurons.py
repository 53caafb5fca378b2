"""Whether gradients add up: predicted against actual shift for many neurons at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from negkernel import Intervention
from negkernel.results import statistics
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.intervals import mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

COUNTS = tuple(2**k for k in range(13))
RANGES = (0.1, 0.5, 1.0, 1.5, 2.0)
STEPS = 50


def together(
    study: PromptStudy,
    *,
    counts: Sequence[int] = COUNTS,
    ranges: Sequence[float] = RANGES,
    steps: int = STEPS,
) -> pd.DataFrame:
    """Enhance random neurons together, each by NeurGrad's polarity.

    The predicted shift is ``sum |NeurGrad| * shift``; each neuron moves along its baseline's sign,
    of which the prediction is.

    Parameters
    ----------
    counts : list of int
        How many neurons; those beyond the model's are left out.
    ranges : list of float
        Upper ends of the shifts.
    steps : int
        Shifts of each range.

    Returns
    -------
    DataFrame
        ``prompt_index``, ``neurons``, ``range``, ``r`` (of predicted with actual shift),
        ``predicted`` and ``actual`` (shift of probability at the upper end).
    """
    settings = study.settings
    engine, prompts, targets = study.first(settings.many_prompts).on
    gradient = engine.gradients(prompts, targets, **settings.how).neurgrad()
    p = np.arange(len(prompts))
    parts = []
    for count in (n for n in counts if n <= len(engine.neurons)):
        neurons = random_neurons(engine, len(prompts), count, settings.seed)
        slope = gradient[p[:, None], neurons[..., 0], neurons[..., 1]]
        strength = np.abs(slope).sum(1)
        for top in ranges:
            shifts = top * np.arange(1, steps + 1) / steps
            lists = [
                [
                    Intervention(own, shift * np.sign(s), site=settings.site, signs="baseline")
                    for shift in shifts
                ]
                for own, s in zip(neurons, slope, strict=True)
            ]
            actual = engine.intervene(prompts, targets, lists, **settings.encoding).prob_shift()
            columns = {
                "prompt_index": p,
                "neurons": count,
                "range": top,
                # A prediction is a positive multiple of the shift, and r does not see the multiple.
                "r": np.where(strength > 0, statistics.pearson(shifts, actual), 0.0),
                "predicted": strength * top,
                "actual": actual[:, -1],
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def by_count(study: PromptStudy) -> pd.DataFrame:
    """Correlation of predicted with actual shift against the number of neurons (Figs. 5, 14).

    Returns
    -------
    DataFrame
        ``neurons``, ``range``, ``prompts``, ``r`` with its limits (over prompts), ``predicted``
        and ``actual`` (means).
    """
    keys = ["neurons", "range"]
    rows = [
        (*key, len(part), *mean(part["r"]), part["predicted"].mean(), part["actual"].mean())
        for key, part in study.table("together").groupby(keys)
    ]
    columns = [*keys, "prompts", "r", "r_low", "r_high", "predicted", "actual"]
    return pd.DataFrame(rows, columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """One curve for each range."""
    figure, (ax,) = axes("neurons enhanced together", "r of predicted and actual shift")
    for top, part in frame.groupby("range"):
        ax.plot(part["neurons"], part["r"], marker="o", ms=3, label=f"up to {top:g}")
        ax.fill_between(part["neurons"], part["r_low"], part["r_high"], alpha=0.15)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    legend_beside(figure, ax)
    return figure
