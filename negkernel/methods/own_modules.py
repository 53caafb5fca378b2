"""Answer through the model's own modules what does not take shifted forwards alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel.hooks.modules import FeedForward
from negkernel.methods import graph_gradients, graph_path
from negkernel.methods.base import LayerGradients, Opened, Part, Work, side_by_side
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.sites import Site, Spot


class OwnModules(ABC):
    """What the methods that run a model's own modules share: gradients by its graph.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    feed_forwards : list of FeedForward
        Its MLPs, one per layer.
    """

    def __init__(self, model: Any, feed_forwards: Sequence[FeedForward]):
        self.model = model
        self.feed_forwards = feed_forwards

    rows: int  # of one batch

    @property
    def state_eps(self) -> float:
        """Rounding of the states that rows are subtracted as."""
        return float(torch.finfo(self.model.dtype).eps)

    @abstractmethod
    def tokens(self, length: int) -> int:
        """Tokens that a row of a prompt of ``length`` tokens runs through the model."""

    def scratch(self, request: Request, rows: int) -> int:
        """See :class:`negkernel.methods.base.Method`; hidden states, neurons and logits."""
        config = self.model.config.get_text_config()
        widest = max(one.width for one in self.feed_forwards)
        longest = max(len(tokens) for tokens in request.tokens)
        token = self.tokens(longest) * (8 * config.hidden_size + 4 * widest)
        size = torch.finfo(self.model.dtype).bits // 8
        return min(rows, self.rows) * (token + 3 * config.vocab_size) * size

    @abstractmethod
    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""

    def gradients(
        self, request: Request, site: Site, *, log: bool = False
    ) -> Iterator[LayerGradients]:
        """See :class:`negkernel.methods.base.Method`."""
        yield from graph_gradients.gradients(
            self.model, self.feed_forwards, request, site=site, log=log
        )

    def path_gradients(
        self, request: Request, site: Site, scales: Sequence[float]
    ) -> Iterator[tuple[int, int, Tensor]]:
        """See :class:`negkernel.methods.base.Method`."""
        for p in range(len(request)):
            layers = graph_path.path_gradients(
                self.model, self.feed_forwards, request.take([p]), scales, site=site
            )
            yield from ((p, layer, mean) for layer, mean in layers)

    def open(self, request: Request, spot: Spot) -> Iterator[Opened]:
        """See :class:`negkernel.methods.base.Method`; every shift starts from the prompt."""
        for p in range(len(request)):
            one = request.take([p])
            widths = spot.site.widths(self.feed_forwards)
            parts = list(self.gradients(one, spot.site, log=True))
            slopes = [part.along(spot.axis) for part in parts]
            nothing = torch.empty(1, 0, 2, dtype=torch.int64)

            def run(rows: Rows, one: Request = one, nothing: Tensor = nothing) -> Part:
                (part,) = self.run(Work.of(one, lambda first, last: rows, nothing, spot))
                return part

            yield Opened(
                first=p,
                last=p + 1,
                base_logprob=run(_unshifted(widths)).base_logprob,  # p itself may underflow
                activation=side_by_side([part.activation.cpu() for part in parts]),
                slope=side_by_side([own.cpu() for own in slopes if own is not None])
                if slopes[0] is not None
                else None,
                shifted=lambda rows, run=run: run(rows).logprob_shift,  # type: ignore[misc]
                state_eps=self.state_eps,
            )

    def groups(self, request: Request) -> Iterator[tuple[int, int]]:
        """See :class:`negkernel.methods.base.Method`."""
        yield from ((p, p + 1) for p in range(len(request)))


def _unshifted(widths: np.ndarray) -> Rows:
    """One row that leaves the first neuron there is as it is."""
    zero = torch.zeros(1, dtype=torch.int64)
    layer = zero + int(np.flatnonzero(widths)[0])
    return Rows(zero, torch.arange(2), layer, zero, torch.zeros(1, dtype=torch.float64))
