"""Shift the input of the nonlinearity of an ungated MLP."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from negkernel.ops.mlp import mlp
from negkernel.sites.site import Inner, InnerGradients, Neuron


class Pre(Neuron):
    """Neurons before the activation."""

    name = "pre"
    gated = frozenset({False})

    def value(self, inner: Inner) -> Tensor:
        """See :class:`Neuron`."""
        return inner.up

    def entry(self, inner: Inner, amount: Tensor) -> Tensor:
        """See :class:`Neuron`; the mlp op on a batch of one row, which does not cancel."""
        one = torch.zeros(1, dtype=torch.int64, device=amount.device)
        return mlp(None, inner.up[None], None, amount[None], one, activation=inner.activation)[0]

    def pick(self, gradients: InnerGradients) -> Tensor:
        """See :class:`Neuron`."""
        return gradients.up

    def scaled(self, inner: Inner, factor: Tensor) -> tuple[Inner, Tensor]:
        """See :class:`Neuron`."""
        inner = replace(inner, up=inner.up * factor)
        return inner, inner.hidden
