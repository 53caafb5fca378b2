"""Shift the output of the gate projection of a gated MLP."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from negkernel.ops.mlp import mlp
from negkernel.sites.site import Inner, InnerGradients, Neuron


class Gate(Neuron):
    """Neurons that go through the activation."""

    name = "gate"
    gated = frozenset({True})

    def value(self, inner: Inner) -> Tensor:
        """See :class:`Neuron`."""
        assert inner.gate is not None
        return inner.gate

    def entry(self, inner: Inner, amount: Tensor) -> Tensor:
        """See :class:`Neuron`; the mlp op on a batch of one row, which does not cancel."""
        assert inner.gate is not None
        one = torch.zeros(1, dtype=torch.int64, device=amount.device)
        still = torch.zeros_like(inner.up)
        gate, up, moved, kept = (x[None] for x in (inner.gate, inner.up, amount, still))
        return mlp(gate, up, moved, kept, one, activation=inner.activation)[0]

    def pick(self, gradients: InnerGradients) -> Tensor:
        """See :class:`Neuron`."""
        assert gradients.gate is not None
        return gradients.gate

    def scaled(self, inner: Inner, factor: Tensor) -> tuple[Inner, Tensor]:
        """See :class:`Neuron`."""
        assert inner.gate is not None
        inner = replace(inner, gate=inner.gate * factor)
        return inner, inner.hidden
