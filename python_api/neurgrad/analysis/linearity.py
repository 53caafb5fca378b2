"""How linear the target's probability is in a neuron's shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from negkernel.results import statistics
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.figures import axes
from neurgrad.analysis.intervals import mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

# Not 0.2: the paper's grid has two shifts within it, and r of two points is 1 by construction.
RANGES = (0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
STEP = 0.2  # the paper's grid: 100 shifts within +-10
NEURONS = 1000  # of a prompt
LINEAR = 0.95


def ranges(study: PromptStudy) -> pd.DataFrame:
    """Measure random neurons of the first prompts up to +-10.

    Returns
    -------
    DataFrame
        ``prompt_index``, ``layer``, ``neuron``, ``range``, ``r`` (Pearson's, within the range).
    """
    few, settings = study.first(study.settings.range_prompts), study.settings
    engine, prompts, targets = few.on
    steps = round(max(RANGES) / STEP)
    shifts = STEP * np.delete(np.arange(-steps, steps + 1), steps)
    neurons = random_neurons(engine, len(prompts), NEURONS, settings.seed)
    sweep = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral", **settings.how)
    dp = statistics.prob_shift(sweep.base_logprob[:, None, None], sweep.logprob_shift)
    p = np.broadcast_to(np.arange(len(prompts))[:, None], neurons.shape[:2])
    names = {"prompt_index": p, "layer": neurons[..., 0], "neuron": neurons[..., 1]}
    parts = []
    for limit in RANGES:
        inside = np.abs(shifts) <= limit + STEP / 2
        r = statistics.pearson(shifts[inside], dp[..., inside])
        columns = {name: values.ravel() for name, values in names.items()}
        parts.append(pd.DataFrame({**columns, "range": limit, "r": r.ravel()}))
    return pd.concat(parts, ignore_index=True)


def by_range(study: PromptStudy) -> pd.DataFrame:
    """Mean ``|r|`` and share of linear neurons against the range of shifts (Fig. 2).

    Returns
    -------
    DataFrame
        ``range``, ``prompts``, ``neurons`` (a prompt), ``r``, ``r_low``, ``r_high``, ``linear``,
        ``linear_low``, ``linear_high``.
    """
    table = study.table("ranges")
    table = table.assign(r=table["r"].abs(), linear=table["r"].abs() >= LINEAR)
    rows = []
    for limit, part in table.groupby("range"):
        own = part.groupby("prompt_index")[["r", "linear"]].mean()
        rows.append((limit, len(own), len(part) // len(own), *mean(own["r"]), *mean(own["linear"])))
    return pd.DataFrame(rows, columns=["range", *_COUNTS, *_with_limits("r", "linear")])


def share(study: PromptStudy) -> pd.DataFrame:
    """Share of linear neurons and of each polarity by NEG (Table 1).

    Returns
    -------
    DataFrame
        One row: ``prompts``, ``neurons`` (a prompt), ``linear``, ``positive``, ``negative`` with
        the limits of each; a neuron without effect has no polarity.
    """
    table = study.table("random")
    shares = {
        "linear": table["linear"],
        "positive": table["polarity"] > 0,
        "negative": table["polarity"] < 0,
    }
    own = pd.DataFrame(shares).groupby(table["prompt_index"]).mean()
    row = [limit for name in shares for limit in mean(own[name])]
    columns = [*_COUNTS, *_with_limits(*shares)]
    return pd.DataFrame([[len(own), len(table) // len(own), *row]], columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`by_range`, with its intervals."""
    figure, panels = axes("shifts within +-", "", panels=2)
    for ax, (name, label) in zip(
        panels, (("r", "mean |r|"), ("linear", f"share with |r| >= {LINEAR}")), strict=True
    ):
        ax.plot(frame["range"], frame[name], marker="o", ms=3)
        ax.fill_between(frame["range"], frame[f"{name}_low"], frame[f"{name}_high"], alpha=0.2)
        ax.set_ylim(top=1.01)
        ax.set_ylabel(label)
    return figure


def draw_share(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`share` as bars."""
    figure, (ax,) = axes("", "share of neurons")
    columns = ["linear", "positive", "negative"]
    row = frame.iloc[0]
    reach = [[row[c] - row[f"{c}_low"], row[f"{c}_high"] - row[c]] for c in columns]
    ax.bar(columns, row[columns].astype(float), yerr=np.array(reach, float).T, capsize=3)
    ax.set_ylim(0, 1)
    return figure


_COUNTS = ["prompts", "neurons"]


def _with_limits(*names: str) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
