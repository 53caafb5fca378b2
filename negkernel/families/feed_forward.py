"""What hooks need to know of a layer's feed-forward neurons, whatever modules they are in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

# Neurons [tokens, I] -> what to put in their place, or None to leave them.
Edit = Callable[[Tensor], Tensor | None]


class Site(Protocol):
    """One layer's neurons at one place of its forward."""

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """Apply ``edit`` to the neurons of every forward until left."""
        ...


class FeedForward(Protocol):
    """One layer's feed-forward part: ``width`` neurons; ``gated`` as in :mod:`negkernel.sites`."""

    @property
    def width(self) -> int:
        """Number of neurons."""
        ...

    @property
    def gated(self) -> bool:
        """Whether the hidden vector is a product of two projections."""
        ...

    def site(self, name: str) -> Site:
        """Return where the resolved site ``name`` can be caught."""
        ...


@dataclass(frozen=True)
class Absent:
    """A layer without a feed-forward part: no neurons, and nothing to catch."""

    width: int = 0
    gated: bool = False

    def site(self, name: str) -> Absent:
        """Return itself: no site of it has neurons."""
        return self

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """See :class:`Site`."""
        return nullcontext()
