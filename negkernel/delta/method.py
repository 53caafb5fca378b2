"""``method="delta"``: trace a group of prompts, then run their rows through the delta forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from negkernel.delta.budget import groups
from negkernel.delta.integrated import path_gradients, scales_at_once
from negkernel.delta.propagate import propagate
from negkernel.delta.trace import Trace, trace
from negkernel.families.parts import Decoder
from negkernel.methods.base import Part, Work
from negkernel.neuron_values import at_site, of_neurons
from negkernel.rows import Rows

# Rows of one batch, by kind of device. A processor multiplies 768 rows at its full rate, and their
# activations stay near its caches and below the sizes that the allocator hands back to the system
# after every use, which costs a page fault for each 4 KiB the next time: at 768 wide 768 rows take
# 3 % less time than 2,048 and 2 % less than 512 or 1,024. A GPU needs thousands to be busy.
MAX_ROWS = {"cpu": 768, "cuda": 16384}


class Delta:
    """The difference form for families that the registry knows.

    Parameters
    ----------
    decoder : Decoder
        The model's description.
    memory_budget : int
        Bytes of scratch: half for the traces of a group of prompts, half for a batch of rows.
    """

    name = "delta"

    def __init__(self, decoder: Decoder, memory_budget: int):
        self.decoder = decoder
        self.memory_budget = memory_budget

    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        for first, last in self.groups(work.tokens):
            base = trace(self.decoder, work.tokens[first:last])
            change = self.changes(
                base,
                work.rows(first, last),
                work.targets[first:last],
                work.site,
                work.axis,
                readings=work.readings,
            )
            watched = work.watched[first:last].to(base.logprob.device)
            yield Part(
                first=first,
                last=last,
                base_logprob=base.logprob.gather(1, watched).cpu(),
                logprob_shift=change,
                activation=read_neurons(self.decoder, base, work.neurons[first:last], work.site),
            )

    def changes(
        self,
        base: Trace,
        rows: Rows,
        targets: Tensor,
        site: str,
        axis: str,
        *,
        readings: bool = False,
    ) -> Tensor:
        """Changes of log p [R, K] of any number of rows on traced prompts, on the CPU.

        ``rows.prompt`` and ``targets`` [P, K] count the prompts of ``base``; with ``readings``
        there are more columns, see :mod:`negkernel.methods.readings`.
        """
        K = targets.shape[1]
        width = 2 * K + 2 if readings else K
        change = torch.empty(len(rows), width, dtype=self.decoder.precision.state)
        longest = max(len(path) for path in base.packing.paths)
        for index, batch in rows.chunks(self.batch_rows(longest)):
            change[index] = propagate(
                self.decoder,
                base,
                batch,
                targets,
                site=site,
                axis=axis,
                readings=readings,
            ).cpu()
        return change

    def path_gradients(
        self, tokens: Sequence[int], targets: Tensor, scales: Sequence[float], site: str
    ) -> Iterator[tuple[int, Tensor]]:
        """Mean gradients [K, I] of each layer's neurons over ``scales``, for one prompt."""
        base = trace(self.decoder, [tokens])
        fit = scales_at_once(self.decoder, len(tokens), self.memory_budget // 2)
        total: dict[int, Tensor] = {}
        for first in range(0, len(scales), fit):
            part = scales[first : first + fit]
            for layer, gradient in path_gradients(
                self.decoder, base, targets[None], part, site=site
            ):
                share = gradient[0] * (len(part) / len(scales))
                total[layer] = total[layer] + share if layer in total else share
        yield from total.items()

    def groups(self, tokens: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
        """Split prompts into runs whose traces fit in half of the memory budget."""
        per_prompt, per_token = self._trace_bytes()
        return groups(
            map(len, tokens),
            per_prompt=per_prompt,
            per_token=per_token,
            budget=self.memory_budget // 2,
        )

    def batch_rows(self, longest: int) -> int:
        """Rows of a batch that fit in half of the memory budget."""
        block = self.decoder.blocks[0]
        spec = block.attention
        hidden, inner = self._widths()
        heads = (spec.n_heads + 2 * spec.n_kv_heads) * spec.head_dim
        scores = 6 * spec.n_heads * longest  # the reference attention's scratch
        vocabulary_tile = 3 * 4096
        per_row = 4 * hidden + 2 * heads + 4 * inner + max(scores, vocabulary_tile)
        fit = self.memory_budget // (2 * per_row * self.decoder.precision.state.itemsize)
        device = self.decoder.blocks[0].device
        return max(1, min(MAX_ROWS.get(device.type, MAX_ROWS["cuda"]), fit))

    def _widths(self) -> tuple[int, int]:
        out, inner = self.decoder.blocks[0].mlp.down.shape
        return out, inner

    def _trace_bytes(self) -> tuple[int, int]:
        """Bytes of a trace per prompt and per token."""
        decoder = self.decoder
        spec = decoder.blocks[0].attention
        hidden, inner = self._widths()
        heads = (spec.n_heads + 2 * spec.n_kv_heads) * spec.head_dim
        vocabulary = decoder.head.shape[0]
        size = self.decoder.precision.state.itemsize
        per_prompt = decoder.n_layers * (4 * hidden + 2 * inner + 2 * heads) + 4 * vocabulary
        kv = decoder.n_layers * 2 * spec.n_kv_heads * spec.head_dim
        transient = 4 * hidden + 3 * inner + 3 * heads
        return per_prompt * size, (kv + transient) * size


def read_neurons(decoder: Decoder, base: Trace, neurons: Tensor, site: str) -> Tensor:
    """Base activations [P, N] of ``neurons`` [P, N, 2]."""
    return of_neurons(
        lambda layer: layer_activation(decoder, base, layer, site), neurons, base.logprob.dtype
    )


def layer_activation(decoder: Decoder, base: Trace, layer: int, site: str) -> Tensor:
    """Base activations [P, I] of all neurons of a layer."""
    of = base.layers[layer]
    return at_site(of.gate, of.up, decoder.blocks[layer].mlp.activation, site)
