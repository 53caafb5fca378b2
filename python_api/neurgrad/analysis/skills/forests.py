"""How many trees, and how deep, Tree-Probe needs (Fig. 9), and one tree drawn (Fig. 15)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from negkernel.extras import need
from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.skills.gather import TaskFeatures
from neurgrad.probes import TreeProbe, tree_features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_title(scheme)
    legend_beside(figure, panels[0])
    return figure


def by_node(
    features: TaskFeatures, neurons: NDArray[np.integer], *, depth: int = 3
) -> pd.DataFrame:
    """One tree of limited depth, a row a node: which question it asks of which neuron.

    Parameters
    ----------
    neurons : int array [N, 2]
        The model's, :attr:`negkernel.Engine.neurons`.

    Returns
    -------
    DataFrame
        ``task``, ``splits``, ``shots``, ``node`` (the root is 1, node i has the children 2 i, for
        yes, and 2 i + 1), ``asks`` (empty at a leaf), ``prompts`` (drawn with replacement),
        ``label`` (the commonest), ``share`` (of the prompts that have it).
    """
    train = features.train
    probe = TreeProbe(1, max_depth=depth).fit(tree_features(train.scores), train.gold)
    tree, two = probe.forest_.estimators_[0].tree_, train.scores.n_labels == 2
    rows, below = [], [(0, 1)]
    for at, node in below:
        asks, favoured = "", int(tree.threshold[at])
        if tree.children_left[at] >= 0:
            layer, index = neurons[tree.feature[at]]
            asks = f"{layer}:{index} favours {1 if two else _up_to(favoured)}?"
            below += [(tree.children_left[at], 2 * node), (tree.children_right[at], 2 * node + 1)]
        share = tree.value[at, 0] / tree.value[at, 0].sum()
        found = {"node": node, "asks": asks, "prompts": int(tree.weighted_n_node_samples[at])}
        label = int(probe.classes_[share.argmax()])
        rows.append(features.key | found | {"label": label, "share": float(share.max())})
    return pd.DataFrame(rows)


def _up_to(label: int) -> str:
    return " or ".join(map(str, range(label + 1)))


def draw_tree(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`by_node`, a tree a panel; labels are their indices."""
    need("matplotlib", "plots", "drawing")
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    schemes = list(frame["splits"].unique())
    deepest = int(frame["node"].max()).bit_length()
    figure = Figure(figsize=(0.6 * 2**deepest, 1.2 * deepest * len(schemes)), layout="constrained")
    for ax, scheme in zip(
        figure.subplots(len(schemes), 1, squeeze=False)[:, 0], schemes, strict=True
    ):
        ax.set(title=f"{scheme}: yes to the left", xlim=(0, 1), ylim=(0.4 - deepest, 0.4))
        ax.set_axis_off()
        place = {}
        for row in frame[frame["splits"] == scheme].sort_values("node").itertuples():
            level = row.node.bit_length() - 1
            place[row.node] = x, y = (row.node - 2**level + 0.5) / 2**level, -level
            if row.node > 1:
                ax.plot(*zip(place[row.node // 2], (x, y), strict=True), c="0.6", lw=0.8, zorder=1)
            paleness = 1 - 0.6 * row.share
            fill = [c + (1 - c) * paleness for c in to_rgb(f"C{row.label}")]
            box = {"boxstyle": "round", "fc": fill, "lw": 0.5}
            said = f"{row.asks or f'label {row.label}'}\n{row.share:.0%} of {row.prompts}"
            ax.text(x, y, said, ha="center", va="center", fontsize=7, bbox=box)
    return figure
