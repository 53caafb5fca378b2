"""How much of a model's total |NEG| its strongest neurons hold, and what a sample shows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes
from neurgrad.analysis.intervals import mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

PERCENTILES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


def strengths(study: PromptStudy) -> np.ndarray:
    """``|NEG|`` of every neuron of each prompt, strongest first: [P, N]."""
    table = study.table("every")
    own = table["neg"].abs().to_numpy(np.float64).reshape(table["prompt_index"].nunique(), -1)
    return -np.sort(-own, axis=1)


def cumulative(study: PromptStudy) -> pd.DataFrame:
    """Cumulative share of ``|NEG|`` against the share of neurons, strongest first (Fig. 4).

    Returns
    -------
    DataFrame
        ``percent`` of neurons, ``prompts``, ``share`` of the prompt's total with its limits, and
        ``least``, ``most``: those of single prompts.
    """
    strength = strengths(study)
    P, n = strength.shape
    total = strength.sum(1, keepdims=True)
    running = np.cumsum(strength, axis=1) / np.where(total == 0, 1.0, total)
    rows = []
    for percent in PERCENTILES:
        own = running[:, max(1, round(percent / 100 * n)) - 1]
        rows.append((percent, P, *mean(own), own.min(), own.max()))
    names = ["share", "share_low", "share_high", "least", "most"]
    return pd.DataFrame(rows, columns=["percent", "prompts", *names])


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the mean over prompts, its interval, and the prompts' own range."""
    figure, (ax,) = axes("strongest neurons (%)", "share of total |NEG|")
    ax.fill_between(frame["percent"], frame["least"], frame["most"], alpha=0.12, lw=0)
    ax.fill_between(frame["percent"], frame["share_low"], frame["share_high"], alpha=0.25, lw=0)
    ax.plot(frame["percent"], frame["share"], marker="o", ms=3)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_ylim(0, 1.01)
    return figure
