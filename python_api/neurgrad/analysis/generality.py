"""Whether linear neurons are found everywhere: in all layers, for all prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine


def generality(counts: np.ndarray) -> tuple[float, float, float]:
    """Coverage, distribution and their product for ``counts`` of linear neurons in bins.

    Coverage is the share of bins with at least one; distribution ``1 - Var / maxVar``, where
    maxVar is the variance with all of them in one bin (the paper leaves it undefined).
    """
    counts = np.asarray(counts, dtype=np.float64)
    worst = np.zeros_like(counts)
    worst[0] = counts.sum()
    coverage = float((counts > 0).mean())
    distribution = 1.0 - float(counts.var() / worst.var()) if worst.var() > 0 else 0.0
    return coverage, distribution, coverage * distribution


def linear_neurons(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    radius: float = 2.0,
    n_neurons: int = 100,
) -> pd.DataFrame:
    """Generality of linear neurons over layers and prompts (Table 5).

    Of each prompt the neurons with the largest ``|NeurGrad|`` are taken, as in the paper's
    appendix.

    Returns
    -------
    DataFrame
        ``over`` ("layers", "prompts"), ``coverage``, ``distribution``, ``generality``.
    """
    total = len(engine.neurons)
    neurons, _ = engine.gradients(prompts, targets).top(min(n_neurons, total))
    shifts = np.delete(np.linspace(-radius, radius, 101), 50)
    linear = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral").linear()
    by_layer = np.bincount(neurons[..., 0][linear], minlength=engine.n_layers)
    rows = [
        ("layers", *generality(by_layer)),
        ("prompts", *generality(linear.sum(1))),
    ]
    return pd.DataFrame(rows, columns=["over", "coverage", "distribution", "generality"])


def draw(frame: pd.DataFrame) -> Figure:
    """Bars of the three numbers for layers and prompts."""
    figure, (ax,) = axes("", "share")
    columns = ["coverage", "distribution", "generality"]
    for offset, (_, row) in zip((-0.2, 0.2), frame.iterrows(), strict=True):
        ax.bar(np.arange(3) + offset, row[columns].astype(float), 0.4, label=row["over"])
    ax.set_xticks(range(3), columns)
    ax.legend(frameon=False)
    return figure
