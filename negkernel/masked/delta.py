"""``method="delta"`` for masked models: trace prompts of one length, then run their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from negkernel.delta.budget import groups
from negkernel.masked import backward
from negkernel.masked.parts import Encoder
from negkernel.masked.propagate import propagate
from negkernel.masked.trace import Trace, trace
from negkernel.methods.base import Part, Work
from negkernel.neuron_values import at_site, of_neurons, side_by_side
from negkernel.rows import Rows

# Positions of one batch: enough for large matrix products, few enough that a batch's activations
# stay near the caches.
MAX_POSITIONS = 2048


class MaskedDelta:
    """The difference form for masked families that the registry knows.

    Parameters
    ----------
    encoder : Encoder
        The model's description.
    memory_budget : int
        Bytes of scratch: half for the traces of a group of prompts, half for a batch of rows.
    """

    name = "delta"

    def __init__(self, encoder: Encoder, memory_budget: int):
        self.encoder = encoder
        self.memory_budget = memory_budget

    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        for first, last in self._groups(work.tokens):
            rows = work.rows(first, last)
            targets, watched = work.targets[first:last], work.watched[first:last]
            neurons = work.neurons[first:last]
            K = targets.shape[1]
            width = 2 * K + 2 if work.readings else K
            change = torch.empty(len(rows), width, dtype=self.encoder.precision.state)
            base_logprob = torch.empty(watched.shape, dtype=self.encoder.precision.state)
            activation = torch.empty(neurons.shape[:2], dtype=self.encoder.precision.state)
            for prompts in by_length(work.tokens[first:last]):
                base = self._trace(work, first, prompts)
                logprob = base.logprob.cpu()
                base_logprob[prompts] = logprob.gather(1, watched[prompts])
                activation[prompts] = read_neurons(self.encoder, base, neurons[prompts], work.site)
                renumbered = torch.full((last - first,), -1)
                renumbered[prompts] = torch.arange(len(prompts))
                mine = torch.nonzero(renumbered[rows.prompt] >= 0)[:, 0]
                own = rows.take(mine)
                own = replace(own, prompt=renumbered[own.prompt])
                for index in self._batches(own, base.length):
                    change[mine[index]] = propagate(
                        self.encoder,
                        base,
                        own.take(index),
                        targets[prompts],
                        site=work.site,
                        axis=work.axis,
                        readings=work.readings,
                    ).cpu()
            yield Part(first, last, base_logprob, change, activation)

    def gradients(
        self,
        tokens: Sequence[Sequence[int]],
        positions: Sequence[int],
        targets: Tensor,
        *,
        site: str,
        log: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Gradients of K targets per prompt, as :mod:`.graph_gradients` yields them.

        Yields
        ------
        logprob [K], activation [L, I], gradient [K, L, I]
            For each prompt in turn.
        """
        for first, last in self._groups(tokens):
            found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
            for prompts in by_length(tokens[first:last]):
                at_once = self._batch_rows(len(tokens[first + prompts[0]])) // targets.shape[1]
                for some in torch.tensor(prompts).add(first).split(max(1, at_once)):
                    parts = self._gradients(tokens, positions, targets, some.tolist(), site, log)
                    found.update(zip(some.tolist(), zip(*parts, strict=True), strict=True))
            for p in range(first, last):
                yield found.pop(p)

    def _gradients(
        self,
        tokens: Sequence[Sequence[int]],
        positions: Sequence[int],
        targets: Tensor,
        prompts: Sequence[int],
        site: str,
        log: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probs [p, K], activations [p, L, I] and gradients [p, K, L, I] of ``prompts``."""
        probe = torch.tensor([positions[p] for p in prompts])
        base = trace(self.encoder, [tokens[p] for p in prompts], probe)
        wanted = targets[list(prompts)]
        rows = self._batch_rows(base.length)
        gradient = [
            backward.gradients(self.encoder, base, some, site=site, log=log)
            for some in wanted.split(rows, dim=1)
        ]
        layers = range(self.encoder.n_layers)
        values = [layer_activation(self.encoder, base, i, site).cpu() for i in layers]
        logprob = base.logprob.cpu().gather(1, wanted)
        return logprob, side_by_side(values), torch.cat(gradient, dim=1)

    def _trace(self, work: Work, first: int, prompts: Sequence[int]) -> Trace:
        tokens = [work.tokens[first + p] for p in prompts]
        probe = torch.tensor([work.positions[first + p] for p in prompts])
        return trace(self.encoder, tokens, probe)

    def _groups(self, tokens: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
        """Split prompts into runs whose traces fit in half of the memory budget."""
        layer = self.encoder.layers[0]
        hidden, inner = layer.mlp.down.shape
        inner *= 1 if layer.mlp.gate is None else 2
        vocabulary = self.encoder.head.decoder.shape[0]
        size = self.encoder.precision.state.itemsize
        return groups(
            map(len, tokens),
            per_prompt=3 * vocabulary * size,
            per_token=self.encoder.n_layers * (5 * hidden + inner) * size,
            budget=self.memory_budget // 2,
        )

    def _batches(self, rows: Rows, length: int) -> Iterator[Tensor]:
        """Split rows into batches of one entry layer each, sorted by prompt."""
        first = rows.first_layer()
        for layer in torch.unique(first).tolist():
            index = torch.nonzero(first == layer)[:, 0]
            index = index[torch.argsort(rows.prompt[index], stable=True)]
            above = self.encoder.n_layers - 1 - layer
            yield from index.split(self._batch_rows(length if above > 1 else 1))

    def _batch_rows(self, positions: int) -> int:
        """Rows of a batch, each carrying differences at ``positions``, that fit in the budget."""
        layer = self.encoder.layers[0]
        hidden, inner = layer.mlp.down.shape
        inner *= 2 if layer.mlp.gate is None else 3
        scores = 4 * layer.attention.n_heads * positions
        per_row = positions * (8 * hidden + inner + scores) + 3 * 4096
        fit = self.memory_budget // (2 * per_row * self.encoder.precision.state.itemsize)
        return max(1, min(MAX_POSITIONS // positions, fit))


def by_length(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Group prompts of equal length: lists of their indices."""
    groups: dict[int, list[int]] = defaultdict(list)
    for p, prompt in enumerate(tokens):
        groups[len(prompt)].append(p)
    yield from groups.values()


def read_neurons(encoder: Encoder, base: Trace, neurons: Tensor, site: str) -> Tensor:
    """Base activations [P, N] of ``neurons`` [P, N, 2]."""
    return of_neurons(
        lambda layer: layer_activation(encoder, base, layer, site), neurons, base.logprob.dtype
    )


def layer_activation(encoder: Encoder, base: Trace, layer: int, site: str) -> Tensor:
    """Base activations [P, I] of all neurons of a layer at the probed positions."""
    of = base.layers[layer]
    gate = None if of.gate is None else base.at_probe(of.gate)
    return at_site(gate, base.at_probe(of.up), encoder.layers[layer].mlp.activation, site)
