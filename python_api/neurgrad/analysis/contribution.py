"""How much of a model's total |NEG| its strongest neurons hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import NegMap

PERCENTILES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


def cumulative(found: NegMap) -> pd.DataFrame:
    """Cumulative share of ``|NEG|`` against the share of neurons, strongest first (Fig. 4).

    Parameters
    ----------
    found : negkernel.NegMap
        NEG of all neurons, one target a prompt.

    Returns
    -------
    DataFrame
        ``percent`` of neurons, ``prompt_index``, ``share`` of the prompt's total.
    """
    strength = -np.sort(-np.abs(found.neg).reshape(len(found.prompts), -1).astype(np.float64))
    total = strength.sum(1, keepdims=True)
    running = np.cumsum(strength, axis=1) / np.where(total == 0, 1.0, total)
    n = strength.shape[1]
    count = np.maximum(1, np.round(np.array(PERCENTILES) / 100 * n).astype(int))
    rows = [
        (percent, p, running[p, k - 1])
        for percent, k in zip(PERCENTILES, count, strict=True)
        for p in range(len(running))
    ]
    return pd.DataFrame(rows, columns=["percent", "prompt_index", "share"])


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the mean over prompts."""
    figure, (ax,) = axes("strongest neurons (%)", "share of total |NEG|")
    mean = frame.groupby("percent")["share"].mean()
    ax.plot(mean.index, mean, marker="o", ms=3)
    ax.set_xscale("log")
    ax.set_ylim(0, 1.01)
    return figure
