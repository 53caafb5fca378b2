"""How activations and NEG are distributed, over all neurons and by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes
from neurgrad.analysis.intervals import mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

QUANTITIES = ("activation", "neg")


def histograms(study: PromptStudy, *, bins: int = 60) -> pd.DataFrame:
    """Histograms of activation and NEG over all prompts and neurons (Figs. 10, 11).

    Returns
    -------
    DataFrame
        ``quantity`` ("activation", "neg"), ``prompts``, ``left``, ``right``, ``count``: bins of the
        central 99.8 %, and an open one, from or to infinity, for what lies beyond at each side.
    """
    table = study.table("every")
    parts = []
    for name in QUANTITIES:
        values = table[name].to_numpy(np.float64)
        low, high = np.quantile(values, [0.001, 0.999])
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        edges = np.concatenate([[-np.inf], edges, [np.inf]])
        count = np.histogram(values, edges)[0]
        columns = {"left": edges[:-1], "right": edges[1:], "count": count}
        prompts = table["prompt_index"].nunique()
        parts.append(pd.DataFrame({"quantity": name, "prompts": prompts, **columns}))
    return pd.concat(parts, ignore_index=True)


def by_layer(study: PromptStudy) -> pd.DataFrame:
    """Size and variance of activation and NEG in each layer (Fig. 12).

    Returns
    -------
    DataFrame
        ``layer``, ``quantity``, ``prompts``, ``magnitude`` (mean of the absolute value over
        neurons and prompts, with limits over prompts), ``mean``, ``variance``, and ``correlation``
        over layers of magnitude with variance.
    """
    table = study.table("every")
    parts = []
    for name in QUANTITIES:
        size = table[name].abs().groupby([table["layer"], table["prompt_index"]]).mean().unstack()
        limits = [mean(row) for row in size.to_numpy()]
        frame = pd.DataFrame(limits, columns=["magnitude", "magnitude_low", "magnitude_high"])
        groups = table[name].groupby(table["layer"])
        frame["mean"], frame["variance"] = groups.mean().to_numpy(), groups.var(ddof=0).to_numpy()
        frame["correlation"] = frame["magnitude"].corr(frame["variance"])
        frame.insert(0, "layer", size.index)
        frame.insert(1, "quantity", name)
        frame.insert(2, "prompts", size.shape[1])
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw both histograms of :func:`histograms`, counts on a log scale, and say what is beyond."""
    figure, panels = axes("", "neurons", panels=2)
    for ax, (name, part) in zip(panels, frame.groupby("quantity", sort=False), strict=True):
        inner = part[np.isfinite(part["left"]) & np.isfinite(part["right"])]
        ax.stairs(inner["count"], [*inner["left"], inner["right"].iloc[-1]], fill=True)
        ax.set_yscale("symlog", linthresh=1)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(str(name))
        beyond = part["count"].iloc[[0, -1]].sum() / part["count"].sum()
        ax.set_title(f"{beyond:.1%} lie beyond")
    return figure


def draw_layers(frame: pd.DataFrame) -> Figure:
    """Draw mean size by layer of :func:`by_layer` with its intervals."""
    figure, panels = axes("layer", "", panels=2)
    for ax, (name, part) in zip(panels, frame.groupby("quantity", sort=False), strict=True):
        ax.plot(part["layer"], part["magnitude"], "o-", ms=3)
        ax.fill_between(part["layer"], part["magnitude_low"], part["magnitude_high"], alpha=0.2)
        ax.set_ylim(bottom=0)
        ax.set_ylabel(f"mean |{name}|")
        ax.set_title(f"r of mean size and variance: {part['correlation'].iloc[0]:+.2f}")
    return figure
