"""Bundle what a user says of how a question is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class How:
    """Which tensor a neuron is, what a shift's number means, and the method that is asked for.

    The names are those of :meth:`negkernel.Engine.sweep`.
    """

    site: str
    method: str
    check: str | bool
    axis: str = "magnitude"


@dataclass(frozen=True)
class Curves:
    """How finely curves are taken, and what is read beside log p: see ``Engine.sweep``."""

    resolution: str
    tol: float
    metrics: Sequence[str]
