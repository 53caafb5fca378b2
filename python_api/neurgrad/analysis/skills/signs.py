"""How the gradients of a task's labels go together, and what demonstrations do to their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad.analysis.figures import axes
from neurgrad.analysis.skills.gather import TaskFeatures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine
    from neurgrad.mceval8k import Prompt


def opposite(features: TaskFeatures, labels: tuple[int, int] = (0, 1)) -> pd.DataFrame:
    """Share of neurons whose gradients for two labels have opposite signs, over test prompts.

    Returns
    -------
    DataFrame
        One row: ``task``, ``splits``, ``shots``, ``opposite`` (share of prompt and neuron pairs).
    """
    a, b = labels
    found, total = 0, 0
    for _, block in features.test.scores.blocks():
        signs = block.signs()
        found += int((signs[:, a] * signs[:, b] < 0).sum())
        total += signs[:, a].size
    return pd.DataFrame([features.key | {"opposite": found / total}])


def magnitudes(engine: Engine, prompts: Sequence[Prompt], *, batch: int = 16) -> dict[str, float]:
    """Size of the gradients, and correlation of those of the first two labels, over all neurons.

    Scores keep no size once they are packed, so these prompts are read again.

    Returns
    -------
    dict
        ``magnitude`` (mean ``|NeurGrad|``, probability per unit of activation) and
        ``correlation`` (Pearson's r over neurons, mean over prompts).
    """
    size, r = [], []
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        found = engine.gradients([p.text for p in some], [list(p.labels) for p in some])
        scores = found.neurgrad()[..., *engine.neurons.T]
        size += np.abs(scores).mean(axis=(1, 2)).tolist()
        r += [float(np.corrcoef(one[0], one[1])[0, 1]) for one in scores]
    return {"magnitude": float(np.mean(size)), "correlation": float(np.mean(r))}


def few_against_zero(engine: Engine, few: Sequence[Prompt], zero: Sequence[Prompt]) -> pd.DataFrame:
    """Size of the gradients with and without demonstrations.

    Returns
    -------
    DataFrame
        Rows ``zero-shot`` and ``few-shot`` with ``magnitude``, ``correlation`` and ``ratio`` of
        the magnitude to the zero-shot one.
    """
    named = (("zero-shot", zero), ("few-shot", few))
    frame = pd.DataFrame([{"prompts": name} | magnitudes(engine, asked) for name, asked in named])
    frame["ratio"] = frame["magnitude"] / frame["magnitude"].iloc[0]
    return frame


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the share of opposite signs and the correlation, bars of both schemes together."""
    asked = frame["task"] + ", " + frame["shots"].astype(str) + "-shot"
    return _bars(frame.assign(asked=asked), ("opposite", "correlation"))


def draw_sizes(frame: pd.DataFrame) -> Figure:
    """Draw the size of the gradients, bars of both schemes together."""
    asked = frame["task"] + ", " + frame["prompts"]
    figure = _bars(frame.assign(asked=asked), ("magnitude", "ratio"))
    figure.axes[0].set_yscale("log")
    return figure


def _bars(frame: pd.DataFrame, values: Sequence[str]) -> Figure:
    """Draw a panel a value, a group of bars for each of the column ``asked``."""
    figure, panels = axes("", "", panels=len(values))
    for ax, value in zip(panels, values, strict=True):
        frame.pivot(index="asked", columns="splits", values=value).plot.bar(
            ax=ax, rot=20, width=0.7, legend=False
        )
        ax.set(ylabel=value, xlabel="")
        ax.axhline(0, color="0.5", lw=0.8)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure
