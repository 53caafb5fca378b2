"""Whether linear neurons are found everywhere: in all layers, for all prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.intervals import interval, mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

SHARES = ["linear", "coverage", "distribution", "generality"]


def generality(counts: np.ndarray) -> tuple[float, float, float]:
    """Coverage, distribution and their product for ``counts`` of linear neurons in bins.

    Coverage is the share of bins with at least one; distribution ``1 - Var / maxVar``, where
    maxVar is the variance with all of them in one bin (the paper leaves it undefined). One bin
    has no distribution: NaN.
    """
    counts = np.asarray(counts, dtype=np.float64)
    worst = np.zeros_like(counts)
    worst[0] = counts.sum()
    coverage = float((counts > 0).mean())
    if len(counts) < 2:
        return coverage, np.nan, np.nan
    distribution = 1.0 - float(counts.var() / worst.var()) if worst.var() > 0 else 0.0
    return coverage, distribution, coverage * distribution


def linear_neurons(study: PromptStudy) -> pd.DataFrame:
    """Generality of linear neurons over layers and prompts (Table 5).

    Of each prompt the neurons with the largest ``|NeurGrad|`` are taken, as in the paper's
    appendix.

    Returns
    -------
    DataFrame
        ``over`` ("layers", "prompts"), ``prompts``, ``neurons`` (a prompt), ``linear`` (ratio,
        with its limits), ``coverage``, ``distribution``, ``generality`` (over layers with its
        limits; over prompts the prompts themselves are the bins).
    """
    table = study.table("strongest")
    P, L = table["prompt_index"].nunique(), study.engine.n_layers
    linear = table[table["linear"]]
    counts = np.zeros((P, L))
    np.add.at(counts, (linear["prompt_index"].to_numpy(), linear["layer"].to_numpy()), 1)
    n = len(table) // P
    ratio = mean(counts.sum(1) / n)

    def over_layers(sums: np.ndarray) -> np.ndarray:
        flat = sums.reshape(-1, L)
        return np.array([generality(one)[2] for one in flat]).reshape(sums.shape[:-1])

    limits = interval(counts, over_layers)[1:]
    rows = [
        ("layers", P, n, *ratio, *generality(counts.sum(0)), *limits),
        ("prompts", P, n, *ratio, *generality(counts.sum(1)), np.nan, np.nan),
    ]
    ends = ["generality_low", "generality_high"]
    names = ["linear", "linear_low", "linear_high", *SHARES[1:], *ends]
    return pd.DataFrame(rows, columns=["over", "prompts", "neurons", *names])


def draw(frame: pd.DataFrame) -> Figure:
    """Bars of the numbers for layers and prompts."""
    figure, (ax,) = axes("", "share")
    for offset, (_, row) in zip((-0.2, 0.2), frame.iterrows(), strict=True):
        ax.bar(np.arange(4) + offset, row[SHARES].astype(float), 0.4, label=row["over"])
    ax.set_xticks(range(4), SHARES)
    legend_beside(figure, ax)
    return figure
