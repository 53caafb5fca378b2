"""Find the matrix of a linear module whose way of storing it is its own.

Quantized layers, adapters and reparametrized layers of any library mostly compute ``W x + b`` after
all. Many say what W is; where one does not, its outputs for unit vectors are W's columns. Either is
held against what the module makes of other inputs: a layer that also rounds its input is not one
matrix, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from negkernel.families.resident import Loader, device_of
from negkernel.families.weights import dense_shape

# Entries of the outputs for unit vectors that exist at once.
_TILE = 2**24
# Relative distance, over all outputs together, between W x and what the module makes of x: sums of
# float32 in another order; for half precision the rounding of the output. An input rounded to 8
# bits is off by 2 % and more, since one of its entries is 30 times the others.
_FLOAT32, _OUTLIER = 1e-4, 30.0


class Measured(Loader):
    """A linear module's matrix and bias, there while a pass is in its layer.

    Parameters
    ----------
    name : str
        Path of the module.
    source : nn.Module
        With ``in_features`` and ``out_features``.
    dtype : torch.dtype
        Of its input.

    Attributes
    ----------
    weight : Tensor [out, in] or None
    bias : Tensor [out] or None
    """

    def __init__(self, name: str, source: nn.Module, dtype: torch.dtype):
        super().__init__(name, [])
        self.source: Any = source
        self.dtype = dtype
        self.out_features, self.in_features = dense_shape(source)
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """See :class:`Loader`."""
        return device_of(self.source)

    @property
    def size(self) -> int:
        """See :class:`Loader`."""
        return self.out_features * self.in_features * self.dtype.itemsize

    @torch.no_grad()
    def bring(self) -> None:
        """Find the matrix.

        Raises
        ------
        NotImplementedError
            The module does not multiply by one.
        """
        with _evaluating(self.source):
            x = self._inputs()
            *found, zero = self._run(x)
            wanted = torch.stack(found) - zero
            for candidate in self._candidates():
                distance = self._distance(candidate, x[:-1], wanted)
                if distance <= max(_FLOAT32, torch.finfo(self.dtype).eps / 2):
                    self.weight, self.bias = candidate, zero if zero.any() else None
                    return
        raise NotImplementedError(
            f"{self.name} ({type(self.source).__name__}) does not multiply by one matrix: what it "
            f"makes of an input is {distance:.2g} off, as where inputs are rounded (activation "
            "quantization)"
        )

    def release(self) -> None:
        """See :class:`Loader`."""
        self.weight = self.bias = None

    def _inputs(self) -> Tensor:
        """Inputs [4, in]: large, small ones beside them, and none."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, self.in_features, generator=generator)
        x[0, 0] = _OUTLIER
        x[2] *= 0.01
        x[3] = 0
        return x.to(self.device, self.dtype)

    def _run(self, x: Tensor) -> Tensor:
        """Outputs [n, out] of the module, in float32 at least."""
        y: Tensor = self.source(x[None])[0]
        return y.to(torch.promote_types(y.dtype, torch.float32))

    def _candidates(self) -> Iterator[Tensor]:
        """Matrices [out, in] that the module may mean, the last one seen in its outputs."""
        shape = self.out_features, self.in_features
        for read in _WAYS:
            try:
                found = read(self.source)
            except (AttributeError, TypeError, ValueError, LookupError, RuntimeError, ImportError):
                continue
            for one in (found, found.t()) if isinstance(found, Tensor) and found.dim() == 2 else ():
                if tuple(one.shape) == shape and one.is_floating_point():
                    yield one.detach().to(self.device)
        yield self._columns()

    def _columns(self) -> Tensor:
        """Outputs for unit vectors."""
        step = max(1, _TILE // max(self.out_features, self.in_features))
        zero = torch.zeros(1, self.in_features, dtype=self.dtype, device=self.device)
        weight = zero.new_empty(self.in_features, self.out_features)
        for first in range(0, self.in_features, step):
            n = min(step, self.in_features - first)
            unit = zero.new_zeros(n, self.in_features)
            unit[torch.arange(n), first + torch.arange(n)] = 1
            weight[first : first + n] = self._run(unit) - self._run(zero)
        return weight.t()

    def _distance(self, weight: Tensor, x: Tensor, wanted: Tensor) -> float:
        """Largest relative distance of ``W x`` from what the module put out, over inputs."""
        found = x.to(wanted.dtype) @ weight.to(wanted.dtype).t()
        off = torch.linalg.vector_norm(found - wanted, dim=1)
        return float((off / torch.linalg.vector_norm(wanted, dim=1).clamp_min(1e-30)).max())


def _attribute(path: str) -> Callable[[Any], Any]:
    """Follow the names of ``path``, calling the last one."""

    def read(module: Any) -> Any:
        for name in path.split("."):
            module = getattr(module, name)
        return module()

    return read


# What libraries call it: torchao, HQQ, quanto and compressed-tensors, GPTQModel.
_WAYS = tuple(
    map(_attribute, ("weight.dequantize", "dequantize", "qweight.dequantize", "dequantize_weight"))
)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Run ``module`` without dropout."""
    given = [(one, one.training) for one in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for one, training in given:
            one.training = training
