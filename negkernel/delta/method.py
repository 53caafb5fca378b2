"""Serve ``method="delta"``: trace a group of prompts, then run their rows through the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from negkernel.delta.backward import gradients
from negkernel.delta.budget import Budget
from negkernel.delta.head import Wanted
from negkernel.delta.inject import activations
from negkernel.delta.integrated import path_gradients
from negkernel.delta.positions import Carried, Layout, carried
from negkernel.delta.prefix_tree import Beginnings
from negkernel.delta.propagate import propagate
from negkernel.delta.reach import reach, reaches
from negkernel.delta.trace import Trace, trace
from negkernel.families.parts import Description
from negkernel.families.resident import too_large
from negkernel.methods.base import LayerGradients, Opened, Part, Work, over_positions, side_by_side
from negkernel.model.memory import free_memory_of
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.sites import Neuron, Site, Spot


class Delta:
    """The difference form for families that the registry knows.

    Parameters
    ----------
    model : Description
    memory_budget : int
        Bytes of scratch, see :class:`negkernel.delta.budget.Budget`.

    Raises
    ------
    MemoryError
        Weights are brought in for each pass, and those of one layer do not fit.
    """

    name = "delta"

    def __init__(self, model: Description, memory_budget: int):
        self.model = model
        self.budget = Budget(model, memory_budget)
        if model.brought:
            _check_room(model)

    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        for first, last in self.groups(work):
            own = slice(first, last)
            base = trace(self.model, work.tokens[own], work.read[own], work.shifted[own])
            lines = work.lines(first, last)
            wanted = Wanted(work.targets[lines], work.spot, work.readings)
            yield Part(
                first=first,
                last=last,
                base_logprob=base.read_off(work.watched[lines]).cpu(),
                logprob_shift=self.changes(base, work.rows(first, last), wanted),
                activation=self._activations(base, work.neurons[first:last], work.spot.site),
            )

    def changes(self, base: Trace, rows: Rows, wanted: Wanted) -> Tensor:
        """Changes of log p [R, C] of any number of rows on traced prompts, on the CPU.

        ``rows.prompt`` and the columns [Q, C] are of the prompts of ``base``; with readings there
        are more columns, see :mod:`negkernel.methods.readings`.
        """
        change = torch.empty(len(rows), wanted.columns, dtype=self.model.precision.state)
        longest, widest = _sizes(base)
        top = self.model.n_layers - 1

        def most(layer: int) -> int:
            """Rows of a batch; those of the last two layers hardly spread over positions."""
            spread = base.carried.at_once or layer < top - 1
            return self.budget.batch(longest, widest if spread else 1)

        batches = rows.chunks(most, together=base.carried.at_once)
        at_once = max(1, self.budget.held(widest) // most(0))
        while some := list(islice(batches, at_once)):
            found = propagate(self.model, base, [batch for _, batch in some], wanted)
            for (index, _), values in zip(some, found, strict=True):
                change[index] = values.cpu()
        return change

    def gradients(
        self, request: Request, site: Site, *, log: bool = False
    ) -> Iterator[LayerGradients]:
        """See :class:`negkernel.methods.base.Method`."""
        for first, last in self.groups(request):
            some = request.take(range(first, last))
            yield from self._gradients(self.trace(some), some, first, site, log)

    def _gradients(
        self, base: Trace, request: Request, first: int, site: Site, log: bool
    ) -> Iterator[LayerGradients]:
        """Gradients of traced prompts, which are the request's from ``first`` on."""
        ids = torch.from_numpy(request.columns)
        P, K = len(request), ids.shape[1]
        most = P * K
        if not base.carried.single:
            most = self.budget.batch(*_sizes(base))
        step = max(1, most // K)
        # Where weights are brought in, as many prompts as there is room for go down together.
        together = self.budget.descending(K, _sizes(base)[1]) if self.model.brought else step
        for low in range(0, P, max(step, together)):
            high = min(low + max(step, together), P)
            part, own = base.select(low, high), ids[base.lines(low, high)]
            logprob = part.read_off(own)
            labels = [
                (part.select(a, b), some)
                for a in range(0, high - low, step)
                for b in [min(a + step, high - low)]
                for some in own[part.lines(a, b)].split(max(1, most), dim=1)
            ]
            each = -(-K // max(1, most))  # parts that the labels of a prompt are in
            for layer, found in gradients(self.model, labels, site=site, log=log):
                cg = [
                    gradient
                    for a in range(0, len(found), each)
                    for gradient in _by_prompt(found[a : a + each])
                ]
                values = activations(self.model.blocks[layer], part.layers[layer], site, layer)
                neurons = _neurons(part.carried, values, cg)
                yield LayerGradients(slice(first + low, first + high), layer, logprob, **neurons)

    def path_gradients(
        self, request: Request, site: Site, scales: Sequence[float]
    ) -> Iterator[tuple[int, int, Tensor]]:
        """See :class:`negkernel.methods.base.Method`."""
        if not self.model.causal or request.read is not None:
            raise NotImplementedError(
                "method 'delta' computes no path gradients of a masked model or of targets of "
                "several tokens; use 'full'"
            )
        assert isinstance(site, Neuron)
        for p, tokens in enumerate(request.tokens):
            base, ids = trace(self.model, [tokens]), torch.from_numpy(request.target_ids[[p]])
            fit = self.budget.scales(len(tokens))
            total: dict[int, Tensor] = {}
            for first in range(0, len(scales), fit):
                part = scales[first : first + fit]
                for layer, gradient in path_gradients(self.model, base, ids, part, site=site):
                    share = gradient[0] * (len(part) / len(scales))
                    total[layer] = total[layer] + share if layer in total else share
            for layer, mean in total.items():
                yield p, layer, mean

    def open(self, request: Request, spot: Spot) -> Iterator[Opened]:
        """See :class:`negkernel.methods.base.Method`."""
        for first, last in self.groups(request):
            some = request.take(range(first, last))
            base = self.trace(some)
            wanted = Wanted(torch.from_numpy(some.columns), spot)
            layers = range(self.model.n_layers)
            slopes: list[list[Tensor]] = [[] for _ in layers]
            values: list[list[Tensor]] = [[] for _ in layers]
            for part in self._gradients(base, some, 0, spot.site, log=True):
                slope = part.along(spot.axis)
                slopes[part.layer] += [] if slope is None else [slope.cpu()]
                values[part.layer].append(part.activation.cpu())

            def shifted(rows: Rows, base: Trace = base, wanted: Wanted = wanted) -> Tensor:
                return self.changes(base, rows, wanted)

            def far(layers: slice, base: Trace = base) -> Tensor:
                return reach(self.model, base, layers, spot)

            yield Opened(
                first=first,
                last=last,
                base_logprob=base.read_off(torch.from_numpy(some.watched_ids)).cpu(),
                activation=side_by_side([torch.cat(own) for own in values]),
                slope=side_by_side([torch.cat(own) for own in slopes]) if slopes[0] else None,
                shifted=shifted,
                reach=far if reaches(spot) else None,
            )

    def scratch(self, request: Request, rows: int) -> int:
        """See :class:`negkernel.methods.base.Method`."""
        sizes = self._sizes(request)
        longest, widest, _ = (max(size) for size in zip(*sizes, strict=True))
        at_once = min(rows, self.budget.batch(longest, widest))
        bases = min(sum(self.budget.base(*size) for size in sizes), self.budget.memory // 2)
        between = min(rows, self.budget.held(widest)) * self.budget.between(widest)
        return bases + at_once * self.budget.row(longest, widest) + between

    def passes(self, request: Request, rows: int) -> int:
        """How often all layers are read for so many rows of each prompt: bases, then rows."""
        longest, widest, _ = (max(size) for size in zip(*self._sizes(request), strict=True))
        batch = self.budget.batch(longest, widest)
        at_once = batch * max(1, self.budget.held(widest) // batch)
        groups = self.groups(request)
        return sum(1 + -(-(last - first) * rows // at_once) for first, last in groups)

    def _activations(self, base: Trace, neurons: Tensor, site: Site) -> Tensor:
        """Base activations [P, N], on the CPU, of ``neurons`` [P, N, 2] where they are shifted."""
        out = torch.empty(neurons.shape[:2], dtype=base.logprob.dtype)
        for layer in torch.unique(neurons[..., 0]).tolist():
            at = neurons[..., 0] == layer
            prompt, _ = torch.nonzero(at, as_tuple=True)
            values = activations(self.model.blocks[layer], base.layers[layer], site, layer).cpu()
            out[at] = values[base.carried.reported.index][prompt, neurons[..., 1][at]]
        return out

    def trace(self, request: Request) -> Trace:
        """Run the base computation of a request's prompts."""
        return trace(self.model, request.tokens, request.reads, request.shifted)

    def groups(self, request: Request | Work) -> Iterator[tuple[int, int]]:
        """Split prompts into runs whose traces fit in half of the memory budget."""
        shared = None
        if self.model.causal:
            shared = Beginnings(request.tokens, self.model.rotary_length).shared
        return self.budget.groups(self._sizes(request), shared)

    def _sizes(self, request: Request | Work) -> list[tuple[int, int, int]]:
        """Tokens of each prompt, and the positions that it carries and is read at."""
        lengths = [len(tokens) for tokens in request.tokens]
        read = request.read if isinstance(request, Work) else request.reads
        at = carried(lengths, read, request.shifted, self.model.causal)
        return list(zip(lengths, at.all.start.diff().tolist(), map(len, read), strict=True))


def _check_room(model: Description) -> None:
    """Refuse a model of which what must be in at once is more than there is room for."""
    ends = model.embed_loaders, model.head_loaders
    for loaders in (*(block.loaders for block in model.blocks), *ends):
        free = free_memory_of(loaders[0].device) if loaders else 0
        if sum(loader.size for loader in loaders) > free:
            raise too_large(loaders, f"{free / 2**20:,.0f} MiB are free")


def _sizes(base: Trace) -> tuple[int, int]:
    """Tokens of the longest prompt, and the most positions that one carries."""
    longest = max(len(path) for path in base.packing.paths)
    return longest, int(base.carried.all.start.diff().max())


def _by_prompt(found: Sequence[tuple[Tensor, Layout]]) -> list[Tensor]:
    """Gradients [K, w, I] of each prompt at its w shifted places, of labels in several parts."""
    parts = [
        [
            gradient[own].view((own.stop - own.start) // n, n, gradient.shape[-1])
            for _, n, own in at.blocks()
        ]
        for gradient, at in found
    ]
    return [torch.cat(labels, 1).transpose(0, 1) for labels in zip(*parts, strict=True)]


def _neurons(at: Carried, values: Tensor, cg: Sequence[Tensor]) -> dict[str, Any]:
    """What :class:`LayerGradients` says of neurons, from gradients ``cg`` of each prompt.

    ``values`` [C, I] are activations at the carried positions.
    """
    places = [at.shifted.of(p) for p in range(len(cg))]
    told = at.reported.index.tolist()
    read = [own.tolist().index(one) for own, one in zip(places, told, strict=True)]
    return over_positions(cg, [values[own.to(values.device)] for own in places], read)
