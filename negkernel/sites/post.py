"""Shift the input of the down projection: the paper's neuron of an ungated MLP."""

from __future__ import annotations

from torch import Tensor

from negkernel.sites.site import Inner, InnerGradients, Neuron


class Post(Neuron):
    """Neurons after the activation, and after the product with the up projection's output."""

    name = "post"
    gated = frozenset({True, False})
    linear = True

    def value(self, inner: Inner) -> Tensor:
        """See :class:`Neuron`."""
        return inner.hidden

    def entry(self, inner: Inner, amount: Tensor) -> Tensor:
        """See :class:`Neuron`."""
        return amount

    def pick(self, gradients: InnerGradients) -> Tensor:
        """See :class:`Neuron`."""
        return gradients.hidden

    def scaled(self, inner: Inner, factor: Tensor) -> tuple[Inner, Tensor]:
        """See :class:`Neuron`."""
        return inner, inner.hidden * factor
