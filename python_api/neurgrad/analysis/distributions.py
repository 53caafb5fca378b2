"""How activations and NEG are distributed, over all neurons and by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import NegMap


def histograms(found: NegMap, *, bins: int = 60) -> pd.DataFrame:
    """Histograms of activation and NEG over all prompts and neurons (Figs. 10, 11).

    The outermost bins hold everything beyond the central 99.8 %.

    Returns
    -------
    DataFrame
        ``quantity`` ("activation", "neg"), ``left``, ``right``, ``count``.
    """
    parts = []
    for name in ("activation", "neg"):
        values = getattr(found, name).ravel()
        low, high = np.quantile(values, [0.001, 0.999])
        high = high if high > low else low + 1.0
        count, edges = np.histogram(np.clip(values, low, high), bins, range=(low, high))
        parts.append(
            pd.DataFrame({"quantity": name, "left": edges[:-1], "right": edges[1:], "count": count})
        )
    return pd.concat(parts, ignore_index=True)


def by_layer(found: NegMap) -> pd.DataFrame:
    """Mean and variance of activation and NEG in each layer, over prompts (Fig. 12).

    Returns
    -------
    DataFrame
        ``layer``, ``quantity``, ``mean``, ``variance``.
    """
    parts = []
    for name in ("activation", "neg"):
        values = getattr(found, name).astype(np.float64)
        values = np.moveaxis(values, -2, 0).reshape(values.shape[-2], -1)
        columns = {"mean": values.mean(1), "variance": values.var(1)}
        parts.append(pd.DataFrame({"layer": range(len(values)), "quantity": name, **columns}))
    return pd.concat(parts, ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw both histograms of :func:`histograms`, counts on a log scale."""
    figure, panels = axes("", "neurons", panels=2)
    for ax, (name, part) in zip(panels, frame.groupby("quantity", sort=False), strict=True):
        ax.stairs(part["count"], [*part["left"], part["right"].iloc[-1]], fill=True)
        ax.set_yscale("symlog")
        ax.set_xlabel(str(name))
    return figure


def draw_layers(frame: pd.DataFrame) -> Figure:
    """Draw the means of :func:`by_layer` with one standard deviation."""
    figure, panels = axes("layer", "", panels=2)
    for ax, (name, part) in zip(panels, frame.groupby("quantity", sort=False), strict=True):
        ax.errorbar(part["layer"], part["mean"], yerr=np.sqrt(part["variance"]), capsize=2)
        ax.set_ylabel(f"{name}, mean and deviation")
    return figure
