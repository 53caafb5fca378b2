"""transformers' norm modules as :class:`~negkernel.families.parts.Norm`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from negkernel.families.parts import Norm


def rms(module: Any, offset: float = 0.0) -> Norm:
    """Describe an RMSNorm, whichever name it gives its epsilon."""
    eps = getattr(module, "variance_epsilon", None)
    return Norm(module, eps if eps is not None else module.eps, offset=offset)


def layer_norm(module: Any) -> Norm:
    """Describe an ``nn.LayerNorm``, affine or not."""
    return Norm(module, module.eps, kind="layer")


def layer_norm_per_head(modules: nn.ModuleList) -> Norm:
    """Describe LayerNorms without bias, one for each head."""
    first: Any = modules[0]
    return _PerHead(modules, first.eps, kind="layer")


class _PerHead(Norm):
    """Norm of heads [..., heads, D] whose module is a list, one norm for each head."""

    def gain(self) -> Tensor:
        """Return the heads' weights [heads, D]."""
        weights: Any = [module.weight for module in self.module.children()]
        return torch.stack(weights).detach().to(self.precision.state)
