"""Slopes layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from negkernel import Gradients, Sweep
from negkernel.arguments import shown
from neurgrad.plots.style import PALETTE, column, new_axes
from neurgrad.plots.values import slopes


def layer_profile(
    result: Sweep | Gradients, *, axes: Sequence[Axes] | None = None
) -> tuple[Axes, Axes]:
    """Draw mean and variance of NEG, or of NeurGrad, over the neurons of each layer.

    Parameters
    ----------
    result : Sweep or Gradients
        All prompts and targets are taken together; layers without a neuron are left out.
    axes : two Axes, optional
        For the mean and for the variance; new ones by default.

    Returns
    -------
    mean, variance : Axes
        The mean's band is its standard error.
    """
    found = slopes(result)
    layers = np.unique(found.layer)
    groups = [found.value[found.layer == layer].astype(np.float64) for layer in layers]
    mean = np.array([group.mean() for group in groups])
    variance = np.array([group.var() for group in groups])
    error = np.sqrt(variance / [len(group) for group in groups])
    upper, lower = new_axes(2, 3.2) if axes is None else _two(axes)
    with column():
        upper.fill_between(layers, mean - error, mean + error, color=PALETTE[0], alpha=0.25, lw=0)
        upper.plot(layers, mean, color=PALETTE[0], marker="o")
        upper.axhline(0, color="0.7", linewidth=0.5, zorder=0)
        upper.set_ylabel(f"mean {found.name}\n(p / activation)")
        lower.plot(layers, variance, color=PALETTE[1], marker="s")
        if variance.min() > 0 and variance.max() > 10 * variance.min():
            lower.set_yscale("log")
        lower.set_ylabel("variance\n(p / activation)\N{SUPERSCRIPT TWO}")
        lower.set_xlabel("layer")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    return upper, lower


def _two(axes: Sequence[Axes]) -> Sequence[Axes]:
    if isinstance(axes, np.ndarray):
        axes = axes.ravel().tolist()
    listed = isinstance(axes, Sequence) and len(axes) == 2
    if not listed or not all(isinstance(ax, Axes) for ax in axes):
        raise ValueError(f"axes is {shown(axes)}; expected two matplotlib Axes")
    return axes
