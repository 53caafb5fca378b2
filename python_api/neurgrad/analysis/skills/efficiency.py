"""How few neurons, and how few training prompts, a probe needs (Fig. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.skills.accuracy import by_probe
from neurgrad.analysis.skills.gather import TaskFeatures, powers
from neurgrad.probes import MagnProbe, PolarProbe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_TRAIN = 16


def by_size(features: TaskFeatures) -> pd.DataFrame:
    """Test accuracy of Polar and Magn against the number of neurons, all in one pass.

    Returns
    -------
    DataFrame
        ``task``, ``splits``, ``shots``, ``probe``, ``n_neurons``, ``test``.
    """
    rows = []
    for name, probe in (("Polar", PolarProbe()), ("Magn", MagnProbe())):
        probe.fit(features.train.scores, features.train.gold)
        found = probe.accuracy_by_size(features.test.scores, features.test.gold)
        rows += [
            features.key | {"probe": name, "n_neurons": n, "test": a} for n, a in found.items()
        ]
    return pd.DataFrame(rows)


def by_training_size(features: TaskFeatures) -> pd.DataFrame:
    """Test accuracy of every probe against the number of training prompts, by powers of two.

    Returns
    -------
    DataFrame
        That of :func:`neurgrad.analysis.skills.accuracy.by_probe` for each size, ``train``.
    """
    sizes = [n for n in powers(len(features.train.gold)) if n >= LEAST_TRAIN]
    return pd.concat([by_probe(features, n_train=n) for n in sizes], ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`by_size` or of :func:`by_training_size`, a line a probe."""
    x, label = ("train", "training prompts") if "train" in frame else ("n_neurons", "neurons")
    schemes = list(frame["splits"].unique())
    figure, panels = axes(label, "test accuracy", panels=len(schemes))
    for ax, scheme in zip(panels, schemes, strict=True):
        shown = frame[frame["splits"] == scheme]
        for (task, shots, probe), part in shown.groupby(["task", "shots", "probe"]):
            ax.plot(part[x], part["test"], marker="o", ms=3, label=f"{probe}, {task}, {shots}-shot")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_title(scheme)
    legend_beside(figure, panels[0])
    return figure
