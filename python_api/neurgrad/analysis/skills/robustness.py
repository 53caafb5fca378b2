"""Whether skill neurons of one prompt context work in another (Fig. 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from neurgrad.analysis.figures import axes
from neurgrad.analysis.skills.gather import TaskFeatures
from neurgrad.probes import PolarProbe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_NEURONS = 32


def across_contexts(
    features: Mapping[str, TaskFeatures], *, n_neurons: int = N_NEURONS
) -> pd.DataFrame:
    """Accuracy of neurons found in context X on prompts of context Y, against Y's own neurons.

    Parameters
    ----------
    features : mapping
        Name of a context -> its features, all of one task.

    Returns
    -------
    DataFrame
        ``found_in``, ``used_in``, ``test`` (accuracy), ``robustness``: what exceeds chance,
        ``max(test - 1/K, 0)``, over the same of the neurons found in ``used_in`` (NaN where those
        do not exceed chance).
    """
    probes = {
        name: PolarProbe(n_neurons=min(n_neurons, given.train.scores.n_neurons)).fit(
            given.train.scores, given.train.gold
        )
        for name, given in features.items()
    }
    rows = [
        {**given.key, "found_in": x, "used_in": y, "chance": given.chance}
        | {"test": probe.score(given.test.scores, given.test.gold)}
        for x, probe in probes.items()
        for y, given in features.items()
    ]
    frame = pd.DataFrame(rows)
    above = (frame["test"] - frame["chance"]).clip(lower=0)
    own = above[frame["found_in"] == frame["used_in"]].to_numpy()
    at_home = frame["used_in"].map(dict(zip(features, own, strict=True)))
    frame["robustness"] = above / at_home.where(at_home > 0)
    return frame


def draw(frame: pd.DataFrame) -> Figure:
    """Draw robustness as a matrix, rows found in and columns used in, a panel a scheme."""
    schemes = list(frame["splits"].unique())
    figure, panels = axes("used in", "found in", panels=len(schemes))
    for ax, scheme in zip(panels, schemes, strict=True):
        part = frame[frame["splits"] == scheme]
        table = part.pivot(index="found_in", columns="used_in", values="robustness")
        image = ax.imshow(table, vmin=0, vmax=1, cmap="viridis")
        ax.set_xticks(range(len(table.columns)), list(table.columns), rotation=60, fontsize=7)
        ax.set_yticks(range(len(table.index)), list(table.index), fontsize=7)
        ax.grid(visible=False)
        ax.set_title(scheme)
    figure.colorbar(image, ax=panels, label="robustness")
    return figure
