"""``method="full"``: an ordinary forward of the whole prompt per row, with hooks.

What a researcher writes first, and the oracle that the fast methods are tested against. It runs
the model's own modules and knows nothing of prefixes or differences.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from negkernel import hooks
from negkernel.borrow import borrowed
from negkernel.families.hook_sites import FeedForward
from negkernel.methods.base import Part, Work
from negkernel.methods.readings import from_logprobs

ROWS = 50  # rows of one forward: enough to fill two cores, small enough for a laptop


class Full:
    """One full forward per row, ``rows`` of them in a batch.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal or masked language model.
    feed_forwards : list of FeedForward
        Its MLPs, one per layer.
    rows : int
        Rows of one batch.
    """

    name = "full"

    def __init__(
        self,
        model: Any,
        feed_forwards: Sequence[FeedForward],
        rows: int = ROWS,
    ):
        self.model = model
        self.feed_forwards = feed_forwards
        self.rows = rows

    @torch.no_grad()
    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        sites = [one.site(work.site) for one in self.feed_forwards]
        with borrowed(self.model) as rotary:
            for p, tokens in enumerate(work.tokens):
                rotary.restore()  # a prompt's numbers must not depend on those before it
                seen: dict[int, Tensor] = {}
                layers = torch.unique(work.neurons[p, :, 0]).tolist()
                probed = work.positions[p]
                with hooks.edited(sites, hooks.reader(seen, layers, torch.tensor([probed]))):
                    base = probed_logprob(self.model, torch.tensor([tokens]), probed)[0]
                changes = []
                rows = work.rows(p, p + 1)
                for index in torch.arange(len(rows)).split(self.rows):
                    batch = rows.take(index)
                    ids = torch.tensor([tokens]).expand(len(index), -1)
                    position = torch.arange(len(index)) * len(tokens) + probed
                    with hooks.edited(sites, hooks.shifts(batch, position, work.axis)):
                        logprob = probed_logprob(self.model, ids, probed)
                    changes.append(changes_of(work, p, logprob, base))
                yield part_of(work, p, base, changes, seen)


def changes_of(work: Work, p: int, logprob: Tensor, base: Tensor) -> Tensor:
    """What is read off rows of prompt p, on the CPU, from log-probs [r, V] and the base's [V]."""
    target = work.targets[p].to(base.device)
    if work.readings:
        return from_logprobs(logprob, base, target).cpu()
    return (logprob[:, target] - base[target]).cpu()


def part_of(
    work: Work, p: int, base: Tensor, changes: Sequence[Tensor], seen: dict[int, Tensor]
) -> Part:
    """Results of prompt p, its base activations from captures ``seen[layer]`` [1, I]."""
    neurons = work.neurons[p]
    activation = torch.empty(len(neurons), dtype=base.dtype)
    for layer, values in seen.items():
        chosen = neurons[:, 0] == layer
        activation[chosen] = values[0, neurons[chosen, 1].to(values.device)].to(activation)
    return Part(
        first=p,
        last=p + 1,
        base_logprob=base[work.watched[p].to(base.device)][None].cpu(),
        logprob_shift=torch.cat(list(changes)),
        activation=activation[None],
    )


def probed_logprob(model: Any, ids: Tensor, position: int) -> Tensor:
    """Log-probs [B, V] read at ``position`` of ``ids`` [B, S]: of the next or the masked token."""
    if position == ids.shape[1] - 1:
        return last_logprob(model, ids)
    logits = model(input_ids=ids.to(model.get_input_embeddings().weight.device)).logits
    return _log_softmax(logits[:, position])


def last_logprob(model: Any, ids: Tensor, **options: Any) -> Tensor:
    """Log-probs [B, V] after the last token of ``ids`` [B, S] (no padding), float32 or float64."""
    keep = {"logits_to_keep": 1} if accepts(model, "logits_to_keep") else {}
    ids = ids.to(model.get_input_embeddings().weight.device)
    options.setdefault("use_cache", False)
    logits = model(input_ids=ids, **keep, **options).logits[:, -1]
    return _log_softmax(logits)


def _log_softmax(logits: Tensor) -> Tensor:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits.to(dtype), dim=-1)


def accepts(model: Any, argument: str) -> bool:
    """Whether the model's forward takes ``argument`` by name."""
    return argument in inspect.signature(model.forward).parameters
