"""Whether lower-ranked neurons can stand in for the best ones (Fig. 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.skills.gather import TaskFeatures
from neurgrad.probes import PolarProbe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW, MOST_WINDOWS = 64, 64


def by_window(
    features: TaskFeatures, *, window: int = WINDOW, most: int = MOST_WINDOWS
) -> pd.DataFrame:
    """Test accuracy of consecutive windows of Polar-Probe's ranking, each on its own.

    A window's votes are what its end adds to those of its beginning, so all come from one pass.

    Returns
    -------
    DataFrame
        ``task``, ``splits``, ``shots``, ``first`` (rank of the window's first neuron), ``test``,
        ``chance``.
    """
    probe = PolarProbe().fit(features.train.scores, features.train.gold)
    n_windows = min(most, features.train.scores.n_neurons // window)
    if n_windows < 1:
        raise ValueError(
            f"there are {features.train.scores.n_neurons} neurons, fewer than a window of {window}"
        )
    ends = [window * (i + 1) for i in range(n_windows)]
    votes = probe.votes_by_size(features.test.scores, ends)
    votes[:, 1:] -= votes[:, :-1].copy()
    test = (votes.argmax(axis=2) == features.test.gold[:, None]).mean(axis=0)
    rows = [
        features.key | {"first": end - window, "test": accuracy, "chance": features.chance}
        for end, accuracy in zip(ends, test, strict=True)
    ]
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw accuracy against rank, a line a task and scheme."""
    figure, (ax,) = axes("rank of the window's first neuron", "test accuracy")
    for (task, scheme, shots), part in frame.groupby(["task", "splits", "shots"]):
        ax.plot(part["first"], part["test"], label=f"{task}, {shots}-shot, {scheme}")
    ax.axhline(frame["chance"].iloc[0], color="0.5", lw=0.8, ls=":")
    legend_beside(figure, ax)
    return figure
