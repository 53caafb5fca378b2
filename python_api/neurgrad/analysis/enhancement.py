"""What happens when the top neurons of each attribution are enhanced together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from negkernel import Intervention
from neurgrad.analysis.estimators import scores
from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine

BOTH_SIGNS = ("CG", "NeurGrad")  # ranked by magnitude; the others by value, positive side only
SHIFTS = tuple(round(0.1 * k, 1) for k in range(1, 11))


def top_neurons(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    counts: Sequence[int] = (1, 4, 16),
    shifts: Sequence[float] = SHIFTS,
) -> pd.DataFrame:
    """Mean output shift when the top-K neurons of a prompt are enhanced (Figs. 3, 13).

    A neuron of negative score is moved towards 0 where one of positive score is moved away.

    Returns
    -------
    DataFrame
        ``estimator``, ``k``, ``shift``, ``prob_shift`` (mean over prompts).
    """
    rows = []
    for name, values in scores(engine, prompts, targets).items():
        flat = values.reshape(len(prompts), -1)
        order = np.argsort(-np.abs(flat) if name in BOTH_SIGNS else -flat, axis=1, kind="stable")
        for k in counts:
            best = order[:, :k]
            sign = np.sign(np.take_along_axis(flat, best, axis=1))
            neurons = np.stack(np.divmod(best, engine.n_neurons), axis=-1)
            lists = [
                [Intervention(neurons[p], shift * sign[p], signs="baseline") for shift in shifts]
                for p in range(len(prompts))
            ]
            moved = engine.intervene(prompts, targets, lists).prob_shift().mean(0)
            rows += [(name, k, s, m) for s, m in zip(shifts, moved, strict=True)]
    return pd.DataFrame(rows, columns=["estimator", "k", "shift", "prob_shift"])


def draw(frame: pd.DataFrame) -> Figure:
    """One panel for each K, one curve for each estimator."""
    counts = sorted(frame["k"].unique())
    figure, panels = axes("shift", "mean output shift", panels=len(counts))
    for ax, k in zip(panels, counts, strict=True):
        for name, part in frame[frame["k"] == k].groupby("estimator", sort=False):
            ax.plot(part["shift"], part["prob_shift"], marker="o", ms=3, label=name)
        ax.set_title(f"top {k}")
    panels[0].legend(frameon=False)
    return figure
