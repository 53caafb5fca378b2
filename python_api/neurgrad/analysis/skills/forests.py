"""How many trees, and how deep, Tree-Probe needs (Fig. 9), and one tree drawn (Fig. 15)."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.tree import plot_tree

from neurgrad.analysis.figures import axes
from neurgrad.analysis.skills.gather import TaskFeatures
from neurgrad.probes import TreeProbe, tree_features

# The paper's grid: 2^n trees of depth 2^m with n + m < 12.
GRID = tuple((2**n, 2**m) for n in range(11) for m in range(1, 12) if n + m < 12)


def by_shape(
    features: TaskFeatures, grid: Iterable[tuple[int, int]] = GRID, *, random_state: int = 42
) -> pd.DataFrame:
    """Accuracy of forests of given numbers of trees and depths.

    Returns
    -------
    DataFrame
        ``task``, ``splits``, ``shots``, ``trees``, ``depth``, ``n_neurons`` (that some tree splits
        on), ``train``, ``test``: training rows known by heart show as a train accuracy of 1.
    """
    parts = {name: getattr(features, name) for name in ("train", "test")}
    X = {name: tree_features(part.scores) for name, part in parts.items()}
    rows = []
    for trees, depth in grid:
        probe = TreeProbe(trees, max_depth=depth, random_state=random_state)
        probe.fit(X["train"], parts["train"].gold)
        found = {name: probe.score(X[name], part.gold) for name, part in parts.items()}
        shape = {"trees": trees, "depth": depth, "n_neurons": len(probe.neurons_)}
        rows.append(features.key | shape | found)
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw test accuracy against the number of trees, a line a depth, a panel a scheme."""
    schemes = list(frame["splits"].unique())
    figure, panels = axes("trees", "test accuracy", panels=len(schemes))
    for ax, scheme in zip(panels, schemes, strict=True):
        for depth, part in frame[frame["splits"] == scheme].groupby("depth"):
            mean = part.groupby("trees")["test"].mean()
            ax.plot(mean.index, mean, marker="o", ms=3, label=f"depth {depth}")
        ax.set_xscale("log", base=2)
        ax.set_title(scheme)
    panels[0].legend(fontsize=6, ncols=2)
    return figure


def draw_tree(features: TaskFeatures, n_per_layer: int, *, depth: int = 3) -> Figure:
    """Draw one tree of limited depth: it asks which label neuron layer:index favours.

    Parameters
    ----------
    n_per_layer : int
        Neurons of a layer, :attr:`negkernel.Engine.n_neurons`.
    """
    probe = TreeProbe(1, max_depth=depth).fit(
        tree_features(features.train.scores), features.train.gold
    )
    figure = Figure(figsize=(3.5 * depth, 1.6 * (depth + 1)), layout="constrained")
    FigureCanvasAgg(figure)  # plot_tree measures its text
    ax = figure.subplots()
    names = [
        "favourite of {}:{}".format(*divmod(n, n_per_layer)) for n in range(probe.n_features_in_)
    ]
    tree = probe.forest_.estimators_[0]
    plot_tree(tree, ax=ax, feature_names=names, filled=True, impurity=False, fontsize=6)
    return figure
