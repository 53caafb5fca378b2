"""The computational gradient, NeurGrad along the magnitude axis, and activation times gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from negkernel import Engine
from negkernel.arguments import check_kind, check_number

if TYPE_CHECKING:
    from negkernel.request.prompts import Prompts, Targets


def cg(engine: Engine, prompts: Prompts, targets: Targets, **options: Any) -> np.ndarray:
    """Computational gradient dp(target)/da of every neuron.

    Parameters
    ----------
    engine : negkernel.Engine
    prompts, targets
        P prompts and one target, or K, for each.
    **options
        Passed to :meth:`negkernel.Engine.gradients`: ``site``, ``method``, ...

    Returns
    -------
    ndarray [P, L, I] or [P, K, L, I]
        Probability per unit of activation.
    """
    check_kind("engine", engine, Engine)
    return engine.gradients(prompts, targets, **options).cg


def neurgrad(
    engine: Engine, prompts: Prompts, targets: Targets, *, threshold: float = 0.0, **options: Any
) -> np.ndarray:
    """NeurGrad: the computational gradient with the sign of the activation.

    Parameters
    ----------
    engine, prompts, targets, **options
        As for :func:`cg`.
    threshold : float
        Activations above it count as positive, all others as negative.

    Returns
    -------
    ndarray [P, L, I] or [P, K, L, I]
        Probability per unit of activation magnitude.
    """
    check_kind("engine", engine, Engine)
    check_number("threshold", threshold)
    return engine.gradients(prompts, targets, **options).neurgrad(threshold)


def activation_gradient(
    engine: Engine, prompts: Prompts, targets: Targets, **options: Any
) -> np.ndarray:
    """Activation times gradient: what each neuron adds to p(target), to first order.

    Parameters
    ----------
    engine, prompts, targets, **options
        As for :func:`cg`.

    Returns
    -------
    ndarray [P, L, I] or [P, K, L, I]
        Probability. Zeroing a neuron of a positive score lowers p(target) by about as much.
    """
    check_kind("engine", engine, Engine)
    return engine.gradients(prompts, targets, **options).activation_gradient()
