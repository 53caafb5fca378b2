"""Accuracy of every probe and baseline on a task (Tables 3, 4, 8 and 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurgrad.analysis.figures import axes
from neurgrad.analysis.skills.gather import Part, TaskFeatures
from neurgrad.probes import (
    ActProbe,
    LMProbProbe,
    MagnProbe,
    PolarProbe,
    RandomProbe,
    TreeProbe,
    tree_features,
)
from neurgrad.probes.ranking import PAPER_SIZES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROBES = ("Rand", "LM-Prob", "Act", "Polar", "Magn", "Tree")
SCORED = ("valid", "test")

Row = tuple[str, int, float, float]
"""Probe, neurons, accuracy on validation and on test."""


def by_probe(features: TaskFeatures, *, n_train: int | None = None) -> pd.DataFrame:
    """Fit every probe, choose its size on validation, and report test accuracy.

    Parameters
    ----------
    n_train : int, optional
        Only the first so many training prompts (Table 4 takes 1,024).

    Returns
    -------
    DataFrame
        One row a probe: ``task``, ``splits``, ``shots``, ``train`` (prompts), ``probe``,
        ``n_neurons`` (for Act at each node; for Tree those that some tree splits on), ``valid``,
        ``test`` with Wilson's 95 % limits, ``n_test``, and ``label_mass``: the mean probability of
        all labels together on test.
    """
    train = features.train if n_train is None else features.train.first(n_train)
    valid, test = features.valid, features.test
    parts = {"train": train, "valid": valid, "test": test}
    rows = baselines(
        {name: part.probability for name, part in parts.items()},
        {name: part.gold for name, part in parts.items()},
    )
    rows += [_act(train, valid, test), _majority("Polar", PolarProbe(), train, valid, test)]
    rows += [_majority("Magn", MagnProbe(), train, valid, test)]
    tree = TreeProbe().fit(tree_features(train.scores), train.gold)
    scored = [tree.score(tree_features(part.scores), part.gold) for part in (valid, test)]
    rows.append(("Tree", len(tree.neurons_), scored[0], scored[1]))
    return table(rows, features.key, len(train.gold), test.probability)


def baselines(probability: Mapping[str, NDArray], gold: Mapping[str, NDArray]) -> list[Row]:
    """Rows of Rand and LM-Prob, from label probabilities and gold labels of the three splits."""
    known, answers = probability["train"], gold["train"]
    chance = RandomProbe().fit(known, answers)
    model = LMProbProbe(labels=range(known.shape[1])).fit(known, answers)
    rows = []
    for name, baseline in (("Rand", chance), ("LM-Prob", model)):
        found = [float(baseline.score(probability[part], gold[part])) for part in SCORED]
        rows.append((name, 0, found[0], found[1]))
    return rows


def table(
    rows: Sequence[Row], key: Mapping[str, Any], n_train: int, probability: NDArray
) -> pd.DataFrame:
    """Rows as the frame that :func:`by_probe` describes; ``probability`` is that of test."""
    from scipy.stats import binomtest

    frame = pd.DataFrame(rows, columns=["probe", "n_neurons", *SCORED])
    for place, (name, value) in enumerate({**key, "train": n_train}.items()):
        frame.insert(place, name, value)
    n = len(probability)
    limits = [binomtest(round(a * n), n).proportion_ci(method="wilson") for a in frame["test"]]
    frame["test_low"], frame["test_high"] = zip(*limits, strict=True)
    return frame.assign(n_test=n, label_mass=probability.sum(axis=1).mean())


def _majority(
    name: str, probe: PolarProbe | MagnProbe, train: Part, valid: Part, test: Part
) -> Row:
    """Rank once; the smallest of the sizes that are best on validation is used."""
    probe.fit(train.scores, train.gold)
    on_valid = probe.accuracy_by_size(valid.scores, valid.gold)
    best = max(on_valid, key=lambda size: on_valid[size])
    on_test = probe.accuracy_by_size(test.scores, test.gold, [best])
    return name, best, on_valid[best], on_test[best]


def _act(train: Part, valid: Part, test: Part) -> Row:
    most = min(PAPER_SIZES[-1], train.scores.n_neurons)
    probe = ActProbe(n_neurons=most).fit(train.activation, train.gold)
    on_valid = probe.accuracy_by_size(valid.activation, valid.gold)
    best = max(on_valid, key=lambda size: on_valid[size])
    on_test = probe.accuracy_by_size(test.activation, test.gold, [best])
    return "Act", best, on_valid[best], on_test[best]


def side_by_side(frame: pd.DataFrame) -> pd.DataFrame:
    """Test accuracies of the probes as columns, clean and published rows next to each other.

    Parameters
    ----------
    frame : DataFrame
        Frames of :func:`by_probe`, concatenated.
    """
    table = _by_probe(frame, ["task", "shots", "splits", "n_test"])
    return table.reset_index().rename_axis(columns=None)


def _by_probe(frame: pd.DataFrame, index: str | list[str], values: str = "test") -> pd.DataFrame:
    wide = frame.pivot_table(index=index, columns="probe", values=values)
    return wide[[probe for probe in PROBES if probe in wide]]


def draw(frame: pd.DataFrame) -> Figure:
    """Draw test accuracies with their intervals, a panel a scheme of splits."""
    from neurgrad.plots.style import PALETTE

    schemes = list(frame["splits"].unique())
    figure, panels = axes("", "test accuracy", panels=len(schemes))
    for ax, scheme in zip(panels, schemes, strict=True):
        part = frame[frame["splits"] == scheme].copy()
        part["set"] = part["task"] + ", " + part["shots"].astype(str) + "-shot"
        wide, low, high = (_by_probe(part, "set", n) for n in ("test", "test_low", "test_high"))
        reach = np.stack([wide - low, high - wide], axis=1).transpose(2, 1, 0)
        wide.plot.bar(
            ax=ax, rot=20, width=0.8, legend=False, yerr=reach, capsize=1, color=list(PALETTE)
        )
        ax.set(title=scheme, ylim=(0, 1), xlabel="")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(PROBES), frameon=False)
    return figure
