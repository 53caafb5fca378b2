"""How precisely answers are steered, against how far: the trade-off that the paper leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes
from neurgrad.analysis.intervals import mean
from neurgrad.steering import ROWS, steer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

COUNTS = (1, 8, 32)
WANTED = (0.1, 0.3, 0.5, 0.7, 0.9)


def steered(
    study: PromptStudy, *, counts: Sequence[int] = COUNTS, wanted: Sequence[float] = WANTED
) -> pd.DataFrame:
    """Steer every prompt to each probability by each number of neurons.

    Returns
    -------
    DataFrame
        ``prompt_index``, ``k``, wanted ``probability``, ``base``, ``predicted`` and ``actual``
        probability, ``rows`` that it took, ``kl`` at other prompts, and the largest ``shift`` of a
        neuron, along ``axis``.
    """
    settings = study.settings
    engine, prompts, targets = study.first(settings.many_prompts).on
    parts = []
    for k in (k for k in counts if k <= len(engine.neurons)):
        for aim in wanted:
            found = steer(engine, prompts, targets, probability=aim, k=k, **settings.how)
            frame = found.to_frame().drop(columns=["prompt", "target"])
            shift = [np.abs(one.amounts).max() for one in found.interventions]
            frame = frame.assign(prompt_index=range(len(prompts)), k=k, shift=shift)
            parts.append(frame.assign(axis="signed"))
    return pd.concat(parts, ignore_index=True)


def by_intensity(study: PromptStudy) -> pd.DataFrame:
    """Error of steering against intensity, and what gradients alone predict.

    Returns
    -------
    DataFrame
        A row for each ``k`` and wanted ``probability``: ``prompts``, ``intensity`` (mean distance
        of wanted from base), ``error`` (mean distance of actual from wanted) with its limits,
        ``misprediction`` (of what gradients predict from actual), ``within`` (share that came
        within .05), mean ``rows``, and the medians of ``kl`` and ``shift``.
    """
    rows = []
    for key, part in study.table("steered").groupby(["k", "probability"]):
        aim, actual = part["probability"], part["actual"]
        off = np.abs(actual - aim)
        intensity, guess = np.abs(aim - part["base"]), np.abs(part["predicted"] - actual)
        told = (intensity.mean(), *mean(off), guess.mean(), (off <= 0.05).mean())
        cost = part["rows"].mean(), part["kl"].median(), part["shift"].median()
        rows.append((*key, len(part), *told, *cost))
    columns = ["k", "probability", "prompts", "intensity", "error", "error_low", "error_high"]
    columns += ["misprediction", "within", "rows", "kl", "shift"]
    return pd.DataFrame(rows, columns=columns).assign(axis="signed")


def draw(frame: pd.DataFrame) -> Figure:
    """Error and misprediction against intensity, one curve for each number of neurons."""
    figure, panels = axes("mean distance of wanted from base", "mean error", panels=2)
    for ax, column in zip(panels, ("error", "misprediction"), strict=True):
        for k, part in frame.sort_values("intensity").groupby("k"):
            ax.plot(part["intensity"], part[column], marker="o", ms=3, label=f"k = {k}")
        title = f"within {ROWS} exact rows" if column == "error" else "gradients alone"
        ax.set_title(title)
        ax.legend(frameon=False)
    return figure
