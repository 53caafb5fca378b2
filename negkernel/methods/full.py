"""``method="full"``: an ordinary forward of the whole prompt per row, with hooks.

What a researcher writes first, and the oracle that the fast methods are tested against. It runs
the model's own modules and knows nothing of prefixes or differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from negkernel.hooks import edits as hooks
from negkernel.hooks.lease import borrowed
from negkernel.hooks.modules import FeedForward
from negkernel.methods.base import Part, Work
from negkernel.methods.forward import probed_logprob
from negkernel.methods.own_modules import OwnModules
from negkernel.methods.readings import from_logprobs
from negkernel.request.answers import log_prob, where_read

ROWS = 50  # rows of one forward: enough to fill two cores, small enough for a laptop


class Full(OwnModules):
    """One full forward per row, ``rows`` of them in a batch.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal or masked language model.
    feed_forwards : list of FeedForward
        Its MLPs, one per layer.
    rows : int
        Rows of one batch. With 1 every forward is as plain as it goes, logits of all positions
        included: some models compute those of one position otherwise.
    """

    name = "full"

    def __init__(self, model: Any, feed_forwards: Sequence[FeedForward], rows: int = ROWS):
        super().__init__(model, feed_forwards)
        self.rows = rows

    def tokens(self, length: int) -> int:
        """See :class:`OwnModules`: all of them."""
        return length

    @torch.no_grad()
    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        sites = work.spot.site.caught(self.feed_forwards)
        with borrowed(self.model) as state:
            for p, tokens in enumerate(work.tokens):
                state.restore()  # a prompt's numbers must not depend on those before it
                seen: dict[int, Tensor] = {}
                rows = work.rows(p, p + 1)
                layers = hooks.read_for(rows, work.neurons[p])
                read, shifted = work.read[p], work.shifted[p]
                at = hooks.Probed(1, len(tokens), shifted)
                with hooks.edited(sites, hooks.reader(seen, layers, at)):
                    base = self._forward(torch.tensor([tokens]), read)[0]
                changes = []
                for index in torch.arange(len(rows)).split(self.rows):
                    batch = rows.take(index)
                    ids = torch.tensor([tokens]).expand(len(index), -1)
                    at = hooks.Probed(len(index), len(tokens), shifted)
                    with hooks.edited(sites, hooks.shifts(batch, at, work.spot.axis, seen)):
                        logprob = self._forward(ids, read)
                    changes.append(changes_of(work, p, logprob, base))
                yield part_of(work, p, base, changes, seen)

    def _forward(self, ids: Tensor, read: Sequence[int]) -> Tensor:
        return probed_logprob(self.model, ids, read, plain=self.rows == 1)


def changes_of(work: Work, p: int, logprob: Tensor, base: Tensor) -> Tensor:
    """What is read off rows of prompt p, on the CPU: log-probs [r, T, V], the base's [T, V]."""
    ids = work.targets[work.lines(p, p + 1)].to(base.device)
    if work.readings:
        return from_logprobs(logprob[:, 0], base[0], ids[0]).cpu()
    own = logprob.gather(2, ids.clamp(min=0).expand(len(logprob), -1, -1))
    change = own - base.gather(1, ids.clamp(min=0))
    return where_read(ids, change).sum(1).cpu()


def part_of(
    work: Work, p: int, base: Tensor, changes: Sequence[Tensor], seen: dict[int, Tensor]
) -> Part:
    """Results of prompt p, its base activations from captures ``seen[layer]`` [w, I]."""
    neurons, shifted = work.neurons[p], work.shifted[p]
    told = 0 if len(shifted) == 1 else list(shifted).index(work.read[p][0])
    watched = work.watched[work.lines(p, p + 1)].to(base.device)
    activation = torch.empty(len(neurons), dtype=base.dtype)
    for layer, values in seen.items():
        chosen = neurons[:, 0] == layer
        activation[chosen] = values[told, neurons[chosen, 1].to(values.device)].to(activation)
    return Part(
        first=p,
        last=p + 1,
        base_logprob=log_prob(base, watched).sum(0, keepdim=True).cpu(),
        logprob_shift=torch.cat(list(changes)),
        activation=activation[None],
    )
