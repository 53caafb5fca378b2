"""How slopes are distributed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from negkernel import Gradients, Sweep
from negkernel.arguments import check_integer
from neurgrad.plots.style import PALETTE, axes_or_new, column, legend_below
from neurgrad.plots.values import slopes

MOST_BINS = 10_000  # far more than a column has points


def neg_histogram(result: Sweep | Gradients, *, bins: int = 60, ax: Axes | None = None) -> Axes:
    """Draw the histogram of NEG, or of NeurGrad, positive and negative neurons apart.

    Parameters
    ----------
    result : Sweep or Gradients
        All prompts, targets and neurons are taken together.
    bins : int
        Within the 99th percentile of the absolute value; the title says what lies beyond.
    ax : Axes, optional
        Drawn on; new ones by default.

    Returns
    -------
    Axes
    """
    check_integer("bins", bins, 1, MOST_BINS)
    found = slopes(result)
    reach = float(np.percentile(np.abs(found.value), 99)) or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    beyond = float(np.mean(np.abs(found.value) > reach))
    ax = axes_or_new(ax)
    with column():
        for sign, colour, hatch, name in (
            (1, PALETTE[0], "", "positive"),
            (-1, PALETTE[1], "////", "negative"),
        ):
            chosen = np.sign(found.value) == sign
            ax.hist(
                found.value[chosen],
                edges.tolist(),
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.3,
                label=f"{name}: {chosen.mean():.1%}",
            )
        ax.axvline(0, color="0.3", linewidth=0.6)
        heights = np.histogram(found.value[found.value != 0], edges)[0]
        if heights.max() > 10:  # below, a log axis would show parts of one decade
            ax.set_yscale("log")
        else:
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel(found.label)
        ax.set_ylabel("neurons (all prompts)")
        ax.set_title(f"n = {len(found.value):,}, {beyond:.1%} lie beyond", loc="right")
        legend_below(ax)
    return ax
