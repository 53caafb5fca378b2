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
    """Draw mean size and variance of NEG, or of NeurGrad, over the neurons of each layer.

    Signs cancel in a mean: the paper's figure is of ``|NEG|``.

    Parameters
    ----------
    result : Sweep or Gradients
        All prompts and targets are taken together; layers without a neuron are gaps.
    axes : two Axes, optional
        For the mean and for the variance; new ones by default.

    Returns
    -------
    mean, variance : Axes
        The mean's band is its standard error.
    """
    found = slopes(result)
    sampled = np.unique(found.layer)
    layers = np.arange(sampled[0], sampled[-1] + 1)
    mean, error, variance = np.full((3, len(layers)), np.nan)
    for layer in sampled:
        group = found.value[found.layer == layer].astype(np.float64)
        size, at = np.abs(group), layer - layers[0]
        mean[at], variance[at] = size.mean(), group.var()
        error[at] = size.std() / np.sqrt(len(group))
    upper, lower = new_axes(2, 3.2) if axes is None else _two(axes)
    with column():
        upper.fill_between(layers, mean - error, mean + error, color=PALETTE[0], alpha=0.25, lw=0)
        upper.plot(layers, mean, color=PALETTE[0], marker="o")
        upper.set_ylim(bottom=0)
        upper.set_title(f"n = {len(found.value):,}", loc="right")
        upper.set_ylabel(f"mean |{found.name}|\n(p / activation)")
        lower.plot(layers, variance, color=PALETTE[1], marker="s")
        least, most = np.nanmin(variance), np.nanmax(variance)
        if least > 0 and most > 10 * least:
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
