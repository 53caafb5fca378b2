"""negkernel: exact, batched activation shifts of neurons, heads and directions in language models.

``Engine`` is the front door; ``Sweep``, ``Gradients`` and ``Interventions`` are what it returns.
Importing this package imports nothing heavy: the names below are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from negkernel.version import __version__

if TYPE_CHECKING:
    from negkernel.engine import Engine
    from negkernel.model.adapt import adapt
    from negkernel.request.directions import Directions
    from negkernel.request.neurons import Intervention
    from negkernel.results import (
        DirectionGradients,
        Gradients,
        Interventions,
        NegMap,
        Patches,
        Sweep,
    )

__all__ = [
    "DirectionGradients",
    "Directions",
    "Engine",
    "Gradients",
    "Intervention",
    "Interventions",
    "NegMap",
    "Patches",
    "Sweep",
    "__version__",
    "adapt",
]

_HOMES = {
    "Engine": "negkernel.engine",
    "Directions": "negkernel.request.directions",
    "Intervention": "negkernel.request.neurons",
    "DirectionGradients": "negkernel.results",
    "Gradients": "negkernel.results",
    "Interventions": "negkernel.results",
    "NegMap": "negkernel.results",
    "Patches": "negkernel.results",
    "Sweep": "negkernel.results",
    "adapt": "negkernel.model.adapt",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'negkernel' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
