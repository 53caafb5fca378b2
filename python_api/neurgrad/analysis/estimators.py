"""How well each attribution tells a neuron's NEG, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurgrad import attribution
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.cached_engine import CachedEngine
from neurgrad.analysis.figures import axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine

ESTIMATORS: dict[str, Callable[..., np.ndarray]] = {
    "CG": attribution.cg,
    "IG": attribution.integrated_gradients,
    "LPI": attribution.lpi,
    "NeurGrad": attribution.neurgrad,
}

TIMED = 8  # prompts that an estimator's time is taken on


def scores(
    engine: Engine, prompts: Sequence[str], targets: Sequence[str], **options: Any
) -> dict[str, np.ndarray]:
    """Scores [P, L, I] of each estimator that the model allows."""
    found = {}
    for name, estimate in ESTIMATORS.items():
        with suppress(NotImplementedError):  # LPI of a masked model
            found[name] = estimate(engine, prompts, targets, **options)
    return found


def seconds(engine: Engine, prompts: Sequence[str], targets: Sequence[str], name: str) -> float:
    """Seconds per prompt of an estimator, on the first prompts, computed and not taken up."""
    plain = engine.plain if isinstance(engine, CachedEngine) else engine
    few = slice(TIMED)
    start = time.perf_counter()
    ESTIMATORS[name](plain, prompts[few], targets[few])
    return (time.perf_counter() - start) / len(prompts[few])


def against_neg(
    engine: Engine,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    radius: float = 2.0,
    n_neurons: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare each estimator with NEG on random neurons (Table 2).

    Returns
    -------
    DataFrame
        ``estimator``, ``r_pooled`` (over all prompts and neurons at once), ``r_per_prompt`` (mean
        of each prompt's own), ``mae`` (in the estimator's own unit against NEG's, as the paper
        has it), ``seconds`` per prompt for all neurons, timed on the first prompts.
    """
    shifts = np.delete(np.linspace(-radius, radius, 101), 50)
    neurons = random_neurons(engine, len(prompts), n_neurons, seed)
    neg = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral").neg()
    at = (np.arange(len(prompts))[:, None], neurons[..., 0], neurons[..., 1])
    rows = []
    for name, values in scores(engine, prompts, targets).items():
        own = values[at]
        each = [np.corrcoef(n, e)[0, 1] for n, e in zip(neg, own, strict=True) if n.any()]
        pooled = np.corrcoef(own.ravel(), neg.ravel())[0, 1]
        cost = seconds(engine, prompts, targets, name)
        rows.append((name, pooled, np.mean(each), np.abs(own - neg).mean(), cost))
    columns = ["estimator", "r_pooled", "r_per_prompt", "mae", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the correlations of :func:`against_neg`."""
    figure, (ax,) = axes("", "r with NEG")
    x = np.arange(len(frame))
    ax.bar(x - 0.2, frame["r_pooled"], 0.4, label="pooled")
    ax.bar(x + 0.2, frame["r_per_prompt"], 0.4, label="per prompt")
    ax.set_xticks(x, frame["estimator"])
    ax.axhline(0, color="black", lw=0.8)
    ax.legend(frameon=False)
    return figure
