"""How well each attribution tells a neuron's NEG, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurgrad import attribution
from neurgrad.analysis.cached_engine import CachedEngine
from neurgrad.analysis.figures import axes, legend_beside
from neurgrad.analysis.intervals import correlation, mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurgrad.analysis.study import PromptStudy

FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "CG": attribution.cg,
    "IG": attribution.integrated_gradients,
    "LPI": attribution.lpi,
    "NeurGrad": attribution.neurgrad,
}
BOTH_SIGNS = ("CG", "NeurGrad")  # ranked by magnitude; the others by value, positive side only
KEPT = 16  # neurons that are kept of each estimator's order


def scores(study: PromptStudy) -> dict[str, np.ndarray]:
    """Scores [P, L, I] of each estimator that is asked for and that the model allows."""
    found = {}
    for name in study.settings.estimators:
        # LPI adds what a neuron writes, which is one thing whatever its site is.
        how = study.settings.encoding if name == "LPI" else study.settings.how
        with suppress(NotImplementedError):  # LPI of a masked model
            found[name] = FUNCTIONS[name](*study.on, **how)
    return found


def estimates(study: PromptStudy) -> pd.DataFrame:
    """Put every estimator's score beside the NEG of the random neurons, a column each."""
    table = study.table("random")
    study.table("tops")  # of the same scores: afterwards they need not be computed again
    at = tuple(table[name].to_numpy() for name in ("prompt_index", "layer", "neuron"))
    return table.assign(**{name: values[at] for name, values in scores(study).items()})


def tops(study: PromptStudy) -> pd.DataFrame:
    """List the top neurons of each prompt by each estimator.

    Returns
    -------
    DataFrame
        ``prompt_index``, ``estimator``, ``place`` (from 0), ``layer``, ``neuron``, ``score``.
    """
    P, I = len(study.known.prompts), study.engine.n_neurons
    parts = []
    for name, values in scores(study).items():
        flat = np.nan_to_num(values.reshape(P, -1), nan=0.0)
        order = np.argsort(-np.abs(flat) if name in BOTH_SIGNS else -flat, axis=1, kind="stable")
        best = order[:, :KEPT]
        columns = {
            "prompt_index": np.repeat(np.arange(P), best.shape[1]),
            "estimator": name,
            "place": np.tile(np.arange(best.shape[1]), P),
            "layer": best.ravel() // I,
            "neuron": best.ravel() % I,
            "score": np.take_along_axis(flat, best, axis=1).ravel(),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def seconds(study: PromptStudy) -> pd.DataFrame:
    """Time each estimator on the first prompt, all neurons at once, computed anew."""
    engine, prompts, targets = study.first(1).on
    plain = engine.plain if isinstance(engine, CachedEngine) else engine
    rows = []
    for name in study.settings.estimators:
        how = study.settings.encoding if name == "LPI" else study.settings.how
        with suppress(NotImplementedError):
            attribution.cg(plain, prompts, targets)  # what a first call pays for
            start = time.perf_counter()
            FUNCTIONS[name](plain, prompts, targets, **how)
            rows.append((name, time.perf_counter() - start))
    return pd.DataFrame(rows, columns=["estimator", "seconds"])


def against_neg(study: PromptStudy) -> pd.DataFrame:
    """Compare each estimator with NEG on random neurons (Table 2).

    Returns
    -------
    DataFrame
        ``estimator``, ``prompts``, ``neurons`` (a prompt), ``r_pooled`` (over all prompts and
        neurons at once), ``r_per_prompt`` (mean of each prompt's own), ``mae`` (in the estimator's
        own unit against NEG's, as the paper has it), each with its limits; ``seconds`` for all
        neurons of the first prompt.
    """
    table = study.table("estimates")
    P = table["prompt_index"].nunique()
    neg = table["neg"].to_numpy(np.float64).reshape(P, -1)
    cost = study.table("seconds").set_index("estimator")["seconds"]
    rows = []
    for name in (name for name in study.settings.estimators if name in table):
        own = table[name].to_numpy(np.float64).reshape(P, -1)
        each = [np.corrcoef(n, e)[0, 1] for n, e in zip(neg, own, strict=True) if n.any()]
        found = correlation(own, neg), mean(each), mean(np.abs(own - neg).mean(1))
        rows.append((name, P, neg.shape[1], *(x for one in found for x in one), cost[name]))
    limits = [f"{n}{end}" for n in ("r_pooled", "r_per_prompt", "mae") for end in _ENDS]
    return pd.DataFrame(rows, columns=["estimator", "prompts", "neurons", *limits, "seconds"])


_ENDS = ("", "_low", "_high")


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the correlations of :func:`against_neg` with their intervals."""
    figure, (ax,) = axes("", "r with NEG")
    x = np.arange(len(frame))
    for offset, name, label in ((-0.2, "r_pooled", "pooled"), (0.2, "r_per_prompt", "per prompt")):
        ends = (frame[name] - frame[f"{name}_low"], frame[f"{name}_high"] - frame[name])
        reach = np.clip(np.array(ends), 0, None)
        ax.bar(x + offset, frame[name], 0.4, yerr=reach, capsize=2, label=label)
    ax.set_xticks(x, frame["estimator"])
    ax.axhline(0, color="black", lw=0.8)
    legend_beside(figure, ax)
    return figure
