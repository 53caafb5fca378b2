"""Integrated gradients from a baseline of 0, a layer at a time or a neuron at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from negkernel import Engine
from negkernel.arguments import check_choice, check_integer, check_kind

if TYPE_CHECKING:
    from negkernel.request.prompts import Prompts, Targets

MOST_STEPS = 100_000  # far beyond where the mean settles


def integrated_gradients(
    engine: Engine,
    prompts: Prompts,
    targets: Targets,
    *,
    steps: int = 20,
    path: str = "layer",
    **options: Any,
) -> np.ndarray:
    """Integrated gradients of p(target) in every neuron.

    ``a / m * sum_k dp/da`` at ``alpha_k`` times the activations, ``alpha = linspace(0, 1, m)``,
    both ends included (Dai et al., 2022).

    Parameters
    ----------
    engine : negkernel.Engine
    prompts, targets
        P prompts and one target, or K, for each.
    steps : int
        m; for ``path="layer"`` only.
    path : {"layer", "neuron"}
        "layer" scales all neurons of a layer at the probed position together, one layer at a
        time. "neuron" scales one neuron alone. Its integral has a closed form, what the target's
        probability loses when the neuron is set to 0, so it takes one row a neuron and no steps.
    **options
        Passed to the engine: ``site``, ``method``, ...

    Returns
    -------
    ndarray [P, L, I] or [P, K, L, I]
        Probability: an estimate of p(a) - p(0), not of a slope.

    Raises
    ------
    ValueError
        ``steps`` below 1 or an unknown path.
    """
    check_kind("engine", engine, Engine)
    if check_choice("path", path, ("layer", "neuron")) == "neuron":
        return _ablated(engine, prompts, targets, **options)
    check_integer("steps", steps, 1, MOST_STEPS)
    scales = np.linspace(0.0, 1.0, steps).tolist()
    mean = engine.path_gradients(prompts, targets, scales, **options)
    return mean.cg * _beside(mean.activation, mean.cg)


def _ablated(engine: Engine, prompts: Prompts, targets: Targets, **options: Any) -> np.ndarray:
    """What p loses when a neuron is set to 0, for every neuron."""
    L, I = engine.n_layers, engine.n_neurons
    sweep = engine.sweep(prompts, targets, engine.neurons, [-1.0], axis="scale", **options)
    change = sweep.prob_shift()[..., 0]
    lost = np.full((*change.shape[:-1], L, I), np.nan, change.dtype)
    lost[..., *engine.neurons.T] = -change
    return lost


def _beside(activation: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Activations [P, L, I] with an axis K where ``scores`` has one."""
    return activation[:, None] if scores.ndim == 4 else activation
