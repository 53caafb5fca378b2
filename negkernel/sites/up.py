"""Shift the output of the up projection of a gated MLP: the paper's neuron there."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from negkernel.families.activations import activate
from negkernel.sites.site import Inner, InnerGradients, Neuron


class Up(Neuron):
    """Neurons multiplied by the activated gate."""

    name = "up"
    gated = frozenset({True})
    linear = True

    def value(self, inner: Inner) -> Tensor:
        """See :class:`Neuron`."""
        return inner.up

    def entry(self, inner: Inner, amount: Tensor) -> Tensor:
        """See :class:`Neuron`."""
        assert inner.gate is not None
        return activate(inner.gate, inner.activation) * amount

    def pick(self, gradients: InnerGradients) -> Tensor:
        """See :class:`Neuron`."""
        return gradients.up

    def scaled(self, inner: Inner, factor: Tensor) -> tuple[Inner, Tensor]:
        """See :class:`Neuron`."""
        inner = replace(inner, up=inner.up * factor)
        return inner, inner.hidden
