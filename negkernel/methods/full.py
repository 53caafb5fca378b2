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
        with borrowed(self.model) as state:
            for p, tokens in enumerate(work.tokens):
                state.restore()  # a prompt's numbers must not depend on those before it
                seen: dict[int, Tensor] = {}
                rows = work.rows(p, p + 1)
                layers = hooks.read_for(rows, work.neurons[p])
                probed = work.positions[p]
                with hooks.edited(
                    sites, hooks.reader(seen, layers, hooks.Probed(1, len(tokens), probed))
                ):
                    base = probed_logprob(self.model, torch.tensor([tokens]), probed)[0]
                changes = []
                for index in torch.arange(len(rows)).split(self.rows):
                    batch = rows.take(index)
                    ids = torch.tensor([tokens]).expand(len(index), -1)
                    at = hooks.Probed(len(index), len(tokens), probed)
                    with hooks.edited(sites, hooks.shifts(batch, at, work.axis, seen)):
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
    logits = logits_of(model(input_ids=ids.to(input_device(model))))
    return log_softmax(own_logits(model, logits, ids)[:, position])


def last_logprob(model: Any, ids: Tensor, **options: Any) -> Tensor:
    """Log-probs [B, V] after the last token of ``ids`` [B, S] (no padding), float32 or float64."""
    keep = {"logits_to_keep": 1} if accepts(model, "logits_to_keep") else {}
    if accepts(model, "use_cache"):
        options.setdefault("use_cache", False)
    logits = logits_of(model(input_ids=ids.to(input_device(model)), **keep, **options))
    return log_softmax((logits if keep else own_logits(model, logits, ids))[:, -1])


def own_logits(model: Any, logits: Tensor, ids: Tensor) -> Tensor:
    """Return ``logits`` [B, S, V] if they are of the tokens ``ids`` [B, S] alone."""
    if logits.shape[1] != ids.shape[1]:
        raise NotImplementedError(
            f"{type(model).__name__} gives logits at {logits.shape[1]} positions for a prompt of "
            f"{ids.shape[1]} tokens: it adds or drops some"
        )
    return logits


def logits_of(output: Any) -> Tensor:
    """Logits of the language model's head, however the model's output calls them."""
    found = getattr(output, "logits", None)
    logits: Tensor = output.prediction_logits if found is None else found
    return logits


def input_device(model: Any) -> torch.device:
    """Where token ids belong: with the embedding, or where accelerate runs it."""
    embedding = model.get_input_embeddings()
    device: torch.device = embedding.weight.device
    if device.type != "meta":
        return device
    running = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    return torch.device("cpu" if running is None else running)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probs in float32, or in float64 where the logits are."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits.to(dtype), dim=-1)


def accepts(model: Any, argument: str) -> bool:
    """Whether the model's forward takes ``argument`` by name."""
    return argument in inspect.signature(model.forward).parameters
