"""Define a site: a tensor of a layer, and what in it counts as a neuron."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from negkernel.families.activations import activate
from negkernel.families.feed_forward import FeedForward
from negkernel.families.feed_forward import Site as Catch


@dataclass(frozen=True)
class Inner:
    """What a feed-forward layer computes between its projections, or gradients in that.

    Attributes
    ----------
    gate : Tensor [..., I] or None
        None in an ungated MLP.
    up : Tensor [..., I]
    activation : str
    """

    gate: Tensor | None
    up: Tensor
    activation: str

    @property
    def hidden(self) -> Tensor:
        """Input of the down projection [..., I]."""
        out = activate(self.up if self.gate is None else self.gate, self.activation)
        return out if self.gate is None else out.mul_(self.up)

    def at(self, *index: Any) -> Inner:
        """Return the entries ``[index]`` of everything."""
        gate = None if self.gate is None else self.gate[index]
        return replace(self, gate=gate, up=self.up[index])

    def moved(self, gate: Tensor | None, up: Tensor) -> Inner:
        """Return this with differences of gate and up added."""
        both = None if self.gate is None or gate is None else self.gate + gate
        return replace(self, gate=both, up=self.up + up)


@dataclass(frozen=True)
class InnerGradients:
    """Gradients [R, I] in a layer's hidden vector, in its up and, where it has one, its gate."""

    hidden: Tensor
    up: Tensor
    gate: Tensor | None = None


class Site(ABC):
    """Which tensor is shifted, and what of it counts as one neuron.

    Attributes
    ----------
    name : str
        What results call it, and what users pass as ``site=``.
    stage : {"hidden", "heads", "attention_out", "mlp_out", "residual"}
        The tensor of a layer in which it lies, in the order of :mod:`negkernel.delta.inject`.
    """

    name: str
    stage: str
    noun = "neuron"  # what messages call one

    @abstractmethod
    def widths(self, feed_forwards: Sequence[FeedForward]) -> np.ndarray:
        """Return how many neurons each layer has, int64 [L]."""

    @abstractmethod
    def caught(self, feed_forwards: Sequence[FeedForward]) -> list[Catch]:
        """Return where hooks catch the neurons of each layer."""

    def check(self, axis: str, amounts: np.ndarray | None = None) -> str:
        """Return the axis that ``axis`` is here; raise ValueError where it means nothing."""
        return axis


class Neuron(Site):
    """A tensor of the feed-forward layer whose entries are the neurons.

    Attributes
    ----------
    gated : set of bool
        The kinds of MLP that have it.
    linear : bool
        The hidden vector changes in proportion to a shift.
    """

    gated: frozenset[bool]
    linear = False
    stage = "hidden"

    def widths(self, feed_forwards: Sequence[FeedForward]) -> np.ndarray:
        """See :class:`Site`."""
        return np.array([one.width for one in feed_forwards])

    def caught(self, feed_forwards: Sequence[FeedForward]) -> list[Catch]:
        """See :class:`Site`."""
        return [one.site(self.name) for one in feed_forwards]

    @abstractmethod
    def value(self, inner: Inner) -> Tensor:
        """Return the neurons' activations [..., I]."""

    @abstractmethod
    def entry(self, inner: Inner, amount: Tensor) -> Tensor:
        """Return how the hidden vector changes [E] when neurons move by ``amount`` [E]."""

    @abstractmethod
    def pick(self, gradients: InnerGradients) -> Tensor:
        """Return the gradients [R, I] in the neurons."""

    @abstractmethod
    def scaled(self, inner: Inner, factor: Tensor) -> tuple[Inner, Tensor]:
        """Multiply all neurons by ``factor`` [R, 1]: what is left inside, and the hidden vector."""
