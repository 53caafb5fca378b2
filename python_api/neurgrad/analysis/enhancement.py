"""What happens when the top neurons of each attribution are enhanced together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from negkernel import Intervention
from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.intervals import mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

COUNTS = (1, 4, 16)
SHIFTS = tuple(round(0.1 * k, 1) for k in range(1, 11))


def enhanced(study: PromptStudy) -> pd.DataFrame:
    """Enhance each estimator's top neurons of each prompt together.

    A neuron of negative score is moved towards 0 where one of positive score is moved away, each
    by the sign of its own baseline.

    Returns
    -------
    DataFrame
        ``prompt_index``, ``estimator``, ``k``, ``shift``, ``prob_shift``.
    """
    engine, prompts, targets = study.on
    parts = []
    for (name, k), lists in _interventions(study.table("tops"), study.settings.site).items():
        moved = engine.intervene(prompts, targets, lists, **study.settings.encoding).prob_shift()
        columns = {
            "prompt_index": np.repeat(np.arange(len(prompts)), len(SHIFTS)),
            "estimator": name,
            "k": k,
            "shift": np.tile(SHIFTS, len(prompts)),
            "prob_shift": moved.ravel(),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _interventions(tops: pd.DataFrame, site: str) -> dict[tuple[str, int], list]:
    """What is done to each prompt, by estimator and number of neurons."""
    found: dict[tuple[str, int], list] = {}
    for name, order in tops.groupby("estimator", sort=False):
        for k in COUNTS:
            found[str(name), k] = [
                [
                    Intervention(
                        own[["layer", "neuron"]].to_numpy(),
                        shift * np.sign(own["score"].to_numpy()),
                        site=site,
                        signs="baseline",
                    )
                    for shift in SHIFTS
                ]
                for _, own in order[order["place"] < k].groupby("prompt_index")
            ]
    return found


def top_neurons(study: PromptStudy) -> pd.DataFrame:
    """Mean output shift when the top-K neurons of a prompt are enhanced (Figs. 3, 13).

    Returns
    -------
    DataFrame
        ``estimator``, ``k``, ``shift``, ``prompts``, ``prob_shift`` with its limits.
    """
    keys = ["estimator", "k", "shift"]
    rows = [
        (*key, len(part), *mean(part["prob_shift"]))
        for key, part in study.table("enhanced").groupby(keys, sort=False)
    ]
    values = ["prob_shift", "prob_shift_low", "prob_shift_high"]
    return pd.DataFrame(rows, columns=[*keys, "prompts", *values])


def draw(frame: pd.DataFrame) -> Figure:
    """One panel for each K, one curve for each estimator."""
    counts = sorted(frame["k"].unique())
    figure, panels = axes("shift", "mean output shift", panels=len(counts))
    for ax, k in zip(panels, counts, strict=True):
        for name, part in frame[frame["k"] == k].groupby("estimator", sort=False):
            ax.plot(part["shift"], part["prob_shift"], marker="o", ms=3, label=name)
            ax.fill_between(
                part["shift"], part["prob_shift_low"], part["prob_shift_high"], alpha=0.15
            )
        ax.set_title(f"top {k}")
    legend_beside(figure, panels[0])
    return figure
