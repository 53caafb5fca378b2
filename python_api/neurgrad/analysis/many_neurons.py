"""Whether gradients add up: predicted against actual shift for many neurons at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from negkernel import Intervention
from negkernel.results import statistics
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine

COUNTS = tuple(2**k for k in range(13))
RANGES = (0.1, 0.5, 1.0, 1.5, 2.0)


def together(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    counts: Sequence[int] = COUNTS,
    ranges: Sequence[float] = RANGES,
    steps: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Enhance random neurons together, each by NeurGrad's polarity (Figs. 5, 14).

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
        ``neurons``, ``range``, ``r`` (mean over prompts of the correlation of predicted with
        actual shift), ``predicted`` and ``actual`` (mean shift of probability at the upper end).
    """
    gradient = engine.gradients(prompts, targets).neurgrad()
    total = len(engine.neurons)
    rows = []
    for count in (n for n in counts if n <= total):
        neurons = random_neurons(engine, len(prompts), count, seed)
        at = (np.arange(len(prompts))[:, None], neurons[..., 0], neurons[..., 1])
        slope = gradient[at]
        strength = np.abs(slope).sum(1, keepdims=True)
        for top in ranges:
            shifts = top * np.arange(1, steps + 1) / steps
            lists = [
                [Intervention(own, shift * np.sign(s), signs="baseline") for shift in shifts]
                for own, s in zip(neurons, slope, strict=True)
            ]
            actual = engine.intervene(prompts, targets, lists).prob_shift()
            # A prediction is a positive multiple of the shift, and r does not see the multiple.
            r = np.where(strength[:, 0] > 0, statistics.pearson(shifts, actual), 0.0)
            predicted = (strength * shifts)[:, -1].mean()
            rows.append((count, top, r.mean(), predicted, actual[:, -1].mean()))
    return pd.DataFrame(rows, columns=["neurons", "range", "r", "predicted", "actual"])


def draw(frame: pd.DataFrame) -> Figure:
    """One curve for each range."""
    figure, (ax,) = axes("neurons enhanced together", "r of predicted and actual shift")
    for top, part in frame.groupby("range"):
        ax.plot(part["neurons"], part["r"], marker="o", ms=3, label=f"up to {top:g}")
    ax.set_xscale("log", base=2)
    ax.legend(frameon=False)
    return figure
