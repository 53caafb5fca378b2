"""Set directions, such as a sparse autoencoder's features, beside neurons of the same layers.

Units differ: a neuron's shift is in those of its activation, a direction's in those of its vector.
So the directions of a comparison are all multiplied by one *unit*, chosen such that a shift of 1
along the median direction moves the probability to first order as far as a shift of 1 of the
median neuron. What is then left to differ over a range of shifts is the bend of the curves, and how
the effects are spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from negkernel import Directions, Intervention
from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine

KINDS = ("neurons", "directions")
SHIFTS = tuple(round(0.2 * k, 1) for k in range(1, 11))


def beside_neurons(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    directions: Directions,
    *,
    n_neurons: int = 100,
    radius: float = 2.0,
    seed: int = 0,
) -> pd.DataFrame:
    """NEG and linearity of every direction and of random neurons of their layers.

    Parameters
    ----------
    n_neurons : int
        For each prompt, from the directions' layers together.
    radius : float
        NEG and r are those of 100 even shifts within ``[-radius, radius]``, zero excluded.

    Returns
    -------
    DataFrame
        ``kind``, ``prompt_index``, ``layer``, ``index``, ``gradient`` (of the probability, per unit
        of shift), ``neg``, ``pearson``, ``linear``, and ``unit``, 1 for neurons.
    """
    shifts = np.delete(np.linspace(-radius, radius, 101), 50)
    every, slopes, along, unit = _gradients(engine, prompts, targets, directions)
    chosen = np.random.default_rng(seed).permutation(len(every))[:n_neurons]
    scaled = _scaled(directions, unit)
    frames = []
    for kind, places, given, gradient in (
        ("neurons", every[chosen], every[chosen], slopes[:, chosen]),
        ("directions", directions.pairs, scaled, along * unit),
    ):
        sweep = engine.sweep(prompts, targets, given, shifts, resolution="spectral")
        P, N = gradient.shape
        frame = pd.DataFrame(
            {
                "kind": kind,
                "prompt_index": np.repeat(np.arange(P), N),
                "layer": np.tile(places[:, 0], P),
                "index": np.tile(places[:, 1], P),
                "gradient": gradient.ravel(),
                "neg": sweep.neg().ravel(),
                "pearson": sweep.pearson().ravel(),
                "linear": sweep.linear().ravel(),
                "unit": unit if kind == "directions" else 1.0,
            }
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def top_together(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    directions: Directions,
    *,
    counts: Sequence[int] = (1, 4, 16),
    shifts: Sequence[float] = SHIFTS,
) -> pd.DataFrame:
    """Mean change of the probability when the top-K of either kind are shifted together.

    Of the directions and of the neurons of their layers those with the largest gradient count, each
    moved the way that raises the probability.

    Returns
    -------
    DataFrame
        ``kind``, ``k``, ``shift``, ``prob_shift`` and ``predicted``, the sum of gradients times
        shifts; both are means over prompts.
    """
    every, slopes, along, unit = _gradients(engine, prompts, targets, directions)
    scaled = _scaled(directions, unit)
    rows = []
    for kind, gradients in (("neurons", slopes), ("directions", along * unit)):
        order = np.argsort(-np.abs(gradients), axis=1, kind="stable")
        for k in (k for k in counts if k <= gradients.shape[1]):
            lists = []
            for p, best in enumerate(order[:, :k]):
                sign = np.sign(gradients[p, best])
                given: Any = every[best] if kind == "neurons" else scaled.take(best)
                lists.append([Intervention(given, shift * sign) for shift in shifts])
            moved = engine.intervene(prompts, targets, lists).prob_shift().mean(0)
            size = np.abs(np.take_along_axis(gradients, order[:, :k], axis=1)).sum(1).mean()
            rows += [(kind, k, s, m, size * s) for s, m in zip(shifts, moved, strict=True)]
    return pd.DataFrame(rows, columns=["kind", "k", "shift", "prob_shift", "predicted"])


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the frame of :func:`top_together`: one panel for each K, predictions dashed."""
    counts = sorted(frame["k"].unique())
    figure, panels = axes("shift", "mean output shift", panels=len(counts))
    for ax, k in zip(panels, counts, strict=True):
        for kind, part in frame[frame["k"] == k].groupby("kind", sort=False):
            (line,) = ax.plot(part["shift"], part["prob_shift"], marker="o", ms=3, label=kind)
            ax.plot(part["shift"], part["predicted"], ls="--", lw=1, color=line.get_color())
        ax.set_title(f"top {k}")
    panels[0].legend(frameon=False)
    return figure


def _gradients(
    engine: Engine, prompts: Sequence[str], targets: Sequence[str], directions: Directions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Neurons [M, 2] of the directions' layers, NeurGrad [P, M], slopes [P, N], and the unit."""
    every = engine.neurons[np.isin(engine.neurons[:, 0], directions.layers)]
    slopes = engine.gradients(prompts, targets).neurgrad()[:, every[:, 0], every[:, 1]]
    along = engine.gradients(prompts, targets, directions).cg
    typical = np.median(np.abs(slopes)), np.median(np.abs(along))
    if not min(typical) > 0:
        raise ValueError(
            "half of the neurons or directions do not move the probability at all, so that they "
            "have no common unit; expected prompts whose targets the model knows"
        )
    return every, slopes, along, float(typical[0] / typical[1])


def _scaled(directions: Directions, unit: float) -> Directions:
    return Directions(directions.layers, unit * directions.vectors, directions.at)
