"""transformers' norm modules as :class:`~negkernel.families.parts.Norm`."""

from __future__ import annotations

from typing import Any

from negkernel.families.parts import Norm


def rms(module: Any, offset: float = 0.0) -> Norm:
    """Describe an RMSNorm, whichever name it gives its epsilon."""
    eps = getattr(module, "variance_epsilon", None)
    return Norm(module, eps if eps is not None else module.eps, offset=offset)


def layer_norm(module: Any) -> Norm:
    """Describe an ``nn.LayerNorm``, affine or not."""
    return Norm(module, module.eps, kind="layer")
