"""A Hugging Face model in true float64: the oracle that the delta forward is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def exact_float64(model: Any) -> Iterator[Any]:
    """Make ``model`` compute in float64 throughout, for the duration.

    transformers computes RMSNorm and eager softmax in float32 whatever the model's dtype, which
    puts 1e-6 of noise into an oracle that is to be compared at 1e-9. Norms are replaced instance by
    instance, attention is switched to sdpa; both are put back on leaving.
    """
    assert next(model.parameters()).dtype == torch.float64, "convert with model.double() first"
    implementation = model.config._attn_implementation
    patched: list[nn.Module] = []
    try:
        model.config._attn_implementation = "sdpa"
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = _rms_norm(module)
                patched.append(module)
        yield model
    finally:
        model.config._attn_implementation = implementation
        for module in patched:
            del module.forward


def _rms_norm(module: Any) -> Callable[[Tensor], Tensor]:
    eps = getattr(module, "variance_epsilon", None)
    eps = module.eps if eps is None else eps
    offset = 1.0 if type(module).__name__.startswith("Gemma") else 0.0

    def forward(x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * (module.weight + offset)

    return forward
