"""neurgrad: the science on top of ``negkernel``.

Neuron empirical gradients of real prompts, their pictures, skill-neuron probes and the benchmark
they are read from. The subpackages are loaded when first used, so that importing ``neurgrad``
costs nothing: ``analysis``, ``attribution``, ``compat``, ``demo``, ``features``, ``mceval8k``,
``plots``, ``probes``, ``runs`` and ``sae``; so is :func:`neurgrad.steer`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from negkernel.version import __version__

if TYPE_CHECKING:
    from neurgrad import (
        analysis,
        attribution,
        compat,
        demo,
        features,
        mceval8k,
        plots,
        probes,
        runs,
        sae,
    )
    from neurgrad.prompt import Prompt
    from neurgrad.steering import Steered, steer

__all__ = [
    "Prompt",
    "Steered",
    "__version__",
    "analysis",
    "attribution",
    "compat",
    "demo",
    "features",
    "mceval8k",
    "plots",
    "probes",
    "runs",
    "sae",
    "steer",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'neurgrad' has no attribute {name!r}")
    if name == "Prompt":
        return import_module("neurgrad.prompt").Prompt
    if name in ("Steered", "steer"):
        return getattr(import_module("neurgrad.steering"), name)
    return import_module(f"neurgrad.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
