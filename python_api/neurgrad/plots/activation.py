"""Slopes against activations: does a strongly active neuron matter more."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from negkernel import Gradients, Sweep
from neurgrad.plots.style import MARKERS, PALETTE, axes_or_new, column, legend_below
from neurgrad.plots.values import slopes

MOST_POINTS = 20_000


def activation_against_neg(result: Sweep | Gradients, *, ax: Axes | None = None) -> Axes:
    """Draw each neuron's NEG, or NeurGrad, against its activation.

    Parameters
    ----------
    result : Sweep or Gradients
        All prompts and targets are taken together; of more than 20,000 points every so many are
        drawn, while the correlation in the legend is that of all.
    ax : Axes, optional
        Drawn on; new ones by default.

    Returns
    -------
    Axes
    """
    found = slopes(result)
    constant = np.ptp(found.value) == 0 or np.ptp(found.activation) == 0
    r = 0.0 if constant else float(np.corrcoef(found.activation, found.value)[0, 1])
    every = -(-len(found.value) // MOST_POINTS)
    ax = axes_or_new(ax)
    with column():
        for sign, colour, marker, name in (
            (1, PALETTE[0], MARKERS[0], "positive"),
            (-1, PALETTE[1], MARKERS[2], "negative"),
        ):
            chosen = np.flatnonzero(np.sign(found.value) == sign)[::every]
            ax.scatter(
                found.activation[chosen],
                found.value[chosen],
                s=5,
                color=colour,
                marker=marker,
                alpha=0.5,
                linewidths=0,
                label=name,
                rasterized=len(chosen) > 2000,
            )
        ax.axhline(0, color="0.7", linewidth=0.5, zorder=0)
        ax.axvline(0, color="0.7", linewidth=0.5, zorder=0)
        ax.set_xlabel("activation")
        ax.set_ylabel(found.label)
        ax.set_title(f"r = {r:+.3f}, n = {len(found.value):,}", loc="right")
        legend_below(ax, markerscale=1.5)
    return ax
