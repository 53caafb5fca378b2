"""LPI: the log-probability increase of a neuron's own output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from negkernel import Engine
from negkernel.arguments import check_kind

if TYPE_CHECKING:
    from negkernel.request.prompts import Prompts, Targets


def lpi(
    engine: Engine, prompts: Prompts, targets: Targets, *, norm: str = "frozen", **options: Any
) -> np.ndarray:
    """Log-probability increase of every neuron (Yu & Ananiadou, 2024).

    ``log p(t | x + m v) - log p(t | x)``: x is the residual stream after the layer's attention, v
    the neuron's ``down_proj`` column, and m the activation that multiplies it, which is ``post``
    whatever site the other methods are asked for.

    Parameters
    ----------
    engine : negkernel.Engine
        Of a causal model.
    prompts, targets
        P prompts and one target, or K, for each.
    norm : {"frozen", "recomputed"}
        "frozen" keeps the final norm's statistic at the model's own final state, as the authors'
        code does; "recomputed" takes it of the vector that is read. Norms between a neuron and the
        residual stream (Gemma 2 and 3, OLMo 2) keep the statistic of the forward in both: what a
        neuron adds is then its share of what the layer added.
    **options
        ``target_prefix``, ``target_encoding``.

    Returns
    -------
    ndarray [P, L, I] or [P, K, L, I]
        In nats.
    """
    check_kind("engine", engine, Engine)
    return engine.direct_effects(prompts, targets, norm=norm, **options)
