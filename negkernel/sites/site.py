"""Define a site: a tensor of the feed-forward layer whose entries count as neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

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
    """Which tensor the neurons are.

    Attributes
    ----------
    name : str
        What users pass as ``site=``.
    gated : set of bool
        The kinds of MLP that have it.
    """

    name: str
    gated: frozenset[bool]

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

    def caught(self, feed_forward: FeedForward) -> Catch:
        """Return where a hook catches the neurons."""
        return feed_forward.site(self.name)
