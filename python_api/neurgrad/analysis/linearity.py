"""How linear the target's probability is in a neuron's shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from negkernel.results import statistics
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine

RANGES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
STEP = 0.2  # the paper's grid: 100 shifts within +-10


def by_range(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    ranges: Sequence[float] = RANGES,
    n_neurons: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean ``|r|`` of random neurons against the range of shifts (Fig. 2).

    Returns
    -------
    DataFrame
        ``range``, ``prompt_index``, ``r`` (mean absolute Pearson correlation over the neurons),
        ``linear`` (share of neurons with ``|r| >= 0.95``).
    """
    steps = round(max(ranges) / STEP)
    shifts = STEP * np.delete(np.arange(-steps, steps + 1), steps)
    neurons = random_neurons(engine, len(prompts), n_neurons, seed)
    sweep = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral")
    dp = statistics.prob_shift(sweep.base_logprob[:, None, None], sweep.logprob_shift)
    rows = []
    for limit in ranges:
        inside = np.abs(shifts) <= limit + STEP / 2
        r = np.abs(statistics.pearson(shifts[inside], dp[..., inside]))
        for p in range(len(prompts)):
            rows.append((limit, p, r[p].mean(), (r[p] >= 0.95).mean()))
    return pd.DataFrame(rows, columns=["range", "prompt_index", "r", "linear"])


def share(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    radius: float = 2.0,
    n_neurons: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of linear neurons and of each polarity by NEG (Table 1).

    Returns
    -------
    DataFrame
        One row: ``prompts``, ``neurons`` (a prompt), ``linear``, ``positive``, ``negative``; a
        neuron without effect has no polarity.
    """
    shifts = np.delete(np.linspace(-radius, radius, 101), 50)
    neurons = random_neurons(engine, len(prompts), n_neurons, seed)
    sweep = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral")
    polarity = sweep.polarity()
    return pd.DataFrame(
        {
            "prompts": [len(prompts)],
            "neurons": [neurons.shape[1]],
            "linear": [sweep.linear().mean()],
            "positive": [(polarity > 0).mean()],
            "negative": [(polarity < 0).mean()],
        }
    )


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`by_range`: mean over prompts, with their spread."""
    figure, (ax,) = axes("shift range (+-)", "mean |r|")
    r = frame.groupby("range")["r"].agg(["mean", "std"]).fillna(0.0)
    ax.plot(r.index, r["mean"], marker="o", ms=3)
    ax.fill_between(r.index, r["mean"] - r["std"], r["mean"] + r["std"], alpha=0.2)
    ax.set_ylim(top=1.01)
    return figure


def draw_share(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`share` as bars."""
    figure, (ax,) = axes("", "share of neurons")
    columns = ["linear", "positive", "negative"]
    ax.bar(columns, frame.loc[0, columns].astype(float))
    ax.set_ylim(0, 1)
    return figure
