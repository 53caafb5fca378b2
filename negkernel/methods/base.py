"""Say what a method is given and what it hands back: any way of computing shifted log-probs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.request.answers import starts
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.sites import Site, Spot


@dataclass(frozen=True)
class Work:
    """Shifted forwards to compute.

    Attributes
    ----------
    tokens : list of list of int
        P prompts.
    read : list of list of int
        Positions of each prompt where log-probs are read, ascending: Q of all prompts.
    targets : Tensor [Q, C] int64
        Columns whose log-prob is wanted under every shift, see :mod:`negkernel.request.answers`.
    watched : Tensor [Q, W] int64
        Those that are wanted in the base computation.
    rows : callable
        ``rows(first, last)``: the rows of prompts ``first:last``, numbered from 0, sorted by
        prompt, the same number for each prompt. Made on demand: a sweep may have 10^8 of them.
    neurons : Tensor [P, N, 2] int64
        (layer, index) of neurons whose base activation is wanted; N may be 0.
    spot : Spot
        What a row's numbers move.
    elsewhere : list of list of int, optional
        Positions of each prompt where shifts act, ascending; by default where it is read first.
    readings : bool
        Read off everything that :mod:`negkernel.methods.readings` lists, not log p alone; of
        prompts that are read at one position.
    """

    tokens: Sequence[Sequence[int]]
    read: Sequence[Sequence[int]]
    targets: Tensor
    watched: Tensor
    rows: Callable[[int, int], Rows]
    neurons: Tensor
    spot: Spot
    elsewhere: Sequence[Sequence[int]] | None = None
    readings: bool = False

    @classmethod
    def of(
        cls,
        request: Request,
        rows: Callable[[int, int], Rows],
        neurons: Tensor,
        spot: Spot,
        *,
        readings: bool = False,
    ) -> Work:
        """Rows of a request, which also tells what to watch."""
        return cls(
            tokens=request.tokens,
            read=request.reads,
            targets=torch.from_numpy(request.columns),
            watched=torch.from_numpy(request.watched_ids),
            rows=rows,
            neurons=neurons,
            spot=spot,
            elsewhere=request.elsewhere,
            readings=readings,
        )

    @property
    def shifted(self) -> Sequence[Sequence[int]]:
        """Positions of each prompt where shifts act, ascending."""
        return [at[:1] for at in self.read] if self.elsewhere is None else self.elsewhere

    def lines(self, first: int, last: int) -> slice:
        """Which of the Q positions are those of prompts ``first:last``."""
        start = starts(self.read)
        return slice(int(start[first]), int(start[last]))


@dataclass(frozen=True)
class Part:
    """Results of prompts ``first:last``.

    Attributes
    ----------
    base_logprob : Tensor [p, W]
    logprob_shift : Tensor [r, C], or [r, 2 C + 2] with readings
        One line per row, in the order of ``Work.rows(first, last)``.
    activation : Tensor [p, N]
    """

    first: int
    last: int
    base_logprob: Tensor
    logprob_shift: Tensor
    activation: Tensor


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """Gradients of one layer for consecutive prompts, on the device that computed them.

    Attributes
    ----------
    prompts : slice
        Which p of the request's P prompts.
    layer : int
    logprob : Tensor [p, K]
        ``log p(target)``, the same for every layer of these prompts; here and below, K columns.
    cg : Tensor [p, K, I]
        ``d p(target) / d activation``, or that of ``log p(target)``; the sum over positions where
        neurons are shifted at several.
    activation : Tensor [p, I]
        Activation of each neuron where it is shifted; where that is at several positions, at the
        one that is read first.
    magnitude, scale : Tensor [p, K, I], optional
        Gradients along these axes, ``sign(a) cg`` and ``a cg`` summed over positions, where neurons
        are shifted at several.
    values : list of p Tensor [S, I], optional
        Activations at all shifted positions, where they are several.
    """

    prompts: slice
    layer: int
    logprob: Tensor
    cg: Tensor
    activation: Tensor
    magnitude: Tensor | None = None
    scale: Tensor | None = None
    values: list[Tensor] | None = None

    @property
    def prob(self) -> Tensor:
        """``p(target)`` [p, K]."""
        return self.logprob.exp()

    def along(self, axis: str) -> Tensor | None:
        """Slope [p, K, I] of curves along ``axis`` at 0; None for "value": not 0 there."""
        if axis in ("signed", "value"):
            return self.cg if axis == "signed" else None
        own = self.activation[:, None]
        if axis == "magnitude":
            return self.cg * torch.sign(own) if self.magnitude is None else self.magnitude
        return self.cg * own if self.scale is None else self.scale


def over_positions(
    gradients: Sequence[Tensor], values: Sequence[Tensor], read: Sequence[int]
) -> dict[str, Any]:
    """Fields of :class:`LayerGradients` from what was found at each shifted position.

    Parameters
    ----------
    gradients : p of Tensor [K, w, I]
    values : p of Tensor [w, I]
        Activations there.
    read : list of p int
        Which of the w activations is told of.
    """
    own = {"activation": torch.stack([a[i] for a, i in zip(values, read, strict=True)])}
    if all(len(a) == 1 for a in values):
        return own | {"cg": torch.stack([g[:, 0] for g in gradients])}
    pairs = list(zip(gradients, values, strict=True))
    return own | {
        "cg": torch.stack([g.sum(1) for g in gradients]),
        "magnitude": torch.stack([(g * torch.sign(a)).sum(1) for g, a in pairs]),
        "scale": torch.stack([(g * a).sum(1) for g, a in pairs]),
        "values": list(values),
    }


@dataclass(frozen=True)
class Opened:
    """Prompts ``first:last`` of a request, computed once to be shifted any number of times.

    Attributes
    ----------
    base_logprob : Tensor [p, 2 C]
        Of ``Request.watched_ids``.
    activation : Tensor [p, L, I]
    slope : Tensor [p, C, L, I] or None
        Of log p along the axis, at a shift of 0; None where curves are not at 0 there.
    shifted : callable
        Rows, sorted by prompt and numbered from 0 within the group -> changes of log p [r, C].
    state_eps : float
        Rounding of the states that ``shifted`` subtracts, 0 where it carries differences.
    reach : callable or None
        Layers -> how long a vector [p, l, I] a unit of shift adds to the residual stream. None
        where a shift adds no multiple of one vector, or the method does not see it.
    """

    first: int
    last: int
    base_logprob: Tensor
    activation: Tensor
    slope: Tensor | None
    shifted: Callable[[Rows], Tensor]
    state_eps: float = 0.0
    reach: Callable[[slice], Tensor] | None = None


class Method(Protocol):
    """A way of computing shifted log-probs; ``name`` is what users pass as ``method=``.

    What a method cannot do it refuses with a NotImplementedError that names those which can.
    """

    name: str

    def run(self, work: Work) -> Iterator[Part]:
        """Compute ``work``, some prompts at a time, in order."""
        ...

    def gradients(
        self, request: Request, site: Site, *, log: bool = False
    ) -> Iterator[LayerGradients]:
        """Gradients of p(target), or of ``log`` p: every layer of some prompts before the next."""
        ...

    def path_gradients(
        self, request: Request, site: Site, scales: Sequence[float]
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Mean gradients of whole layers that are scaled: prompt, layer, [K, I]."""
        ...

    def open(self, request: Request, spot: Spot) -> Iterator[Opened]:
        """Compute the base of all prompts, some at a time, in order."""
        ...

    def scratch(self, request: Request, rows: int) -> int:
        """Bytes beside the model and the results that ``rows`` rows of the prompts take."""
        ...

    def groups(self, request: Request) -> Iterator[tuple[int, int]]:
        """Prompts ``first:last`` that :meth:`open` takes together, also if asked of them alone."""
        ...


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory was short, which is no fault of a method."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("memory" in text or "alloc" in text)


def side_by_side(layers: Sequence[Tensor]) -> Tensor:
    """Values [..., L, I] of layers with [..., I_l] each; NaN where a layer has no such neuron."""
    widest = max(one.shape[-1] for one in layers)
    return torch.stack([F.pad(x, (0, widest - x.shape[-1]), value=torch.nan) for x in layers], -2)
