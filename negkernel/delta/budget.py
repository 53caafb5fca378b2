"""Count the bytes of bases and of rows: what batches are made by, and what plans are priced by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from negkernel.families.parts import Description

# Rows of one batch, by kind of device. A processor multiplies 768 rows at its full rate, and their
# activations stay near its caches and below the sizes that the allocator hands back to the system
# after every use, which costs a page fault for each 4 KiB the next time: at 768 wide 768 rows take
# 3 % less time than 2,048 and 2 % less than 512 or 1,024. A GPU needs thousands to be busy.
MAX_ROWS = {"cpu": 768, "cuda": 16384}
# Positions of one batch whose rows carry several: enough for large matrix products, few enough
# that a batch's activations stay near the caches.
MAX_POSITIONS = 2048
# Share of the memory that the differences of rows may take between two layers of a pass: rows
# beyond it go through the layers in a pass of their own.
HELD = 1 / 16
# The same where each pass brings all weights in again: fewer passes are worth more memory.
HELD_FOR_BROUGHT = 1 / 8


@dataclass(frozen=True)
class Budget:
    """Memory of the difference form for one model.

    Parameters
    ----------
    model : Description
    memory : int
        Bytes of scratch: half for the bases of a group of prompts, half for rows.
    """

    model: Description
    memory: int

    def base(self, length: int, positions: int) -> int:
        """Bytes of the base of a prompt of ``length`` tokens that carries ``positions``.

        A prefix that prompts share is counted for each: an upper bound.
        """
        model, (hidden, inner, heads, kv) = self.model, self._widths
        kept = model.n_layers * (4 * hidden + 2 * inner + 3 * heads - 2 * kv)
        transient = 4 * hidden + 3 * inner + 3 * heads
        token = model.n_layers * 2 * kv + transient
        return self._size * (positions * kept + 4 * model.head.shape[0] + length * token)

    def row(self, length: int, positions: int) -> int:
        """Bytes of a row that carries ``positions`` of a prompt of ``length`` tokens, in a batch.

        Rows that carry several are copied when the positions change.
        """
        hidden, inner, heads, _ = self._widths
        scores = 6 * self.model.blocks[0].attention.n_heads * length  # the reference's scratch
        streams = (4 if positions == 1 else 8) * hidden
        own = positions * (streams + 2 * heads + 4 * inner)
        return self._size * (own + max(positions * scores, 3 * 4096))  # a tile of the vocabulary

    def batch(self, length: int, positions: int) -> int:
        """How many rows that carry ``positions`` fit in half of the memory, and are wanted."""
        device = self.model.blocks[0].device.type
        most = MAX_ROWS.get(device, MAX_ROWS["cuda"])
        most = most if positions == 1 else MAX_POSITIONS // positions
        return max(1, min(most, self.memory // (2 * self.row(length, positions))))

    def held(self, positions: int) -> int:
        """How many rows that carry ``positions`` may be between two layers at once."""
        hidden, share = self._widths[0], HELD_FOR_BROUGHT if self.model.brought else HELD
        return max(1, int(share * self.memory) // (positions * hidden * self._size))

    def descending(self, labels: int, positions: int) -> int:
        """How many prompts' gradients of so many labels may be between two layers at once."""
        hidden, inner = self._widths[:2]
        one = labels * positions * (2 * hidden + inner) * self._size
        return max(1, int(HELD_FOR_BROUGHT * self.memory) // one)

    def scales(self, length: int) -> int:
        """How many scales of all layers of one prompt fit, see :mod:`.integrated`."""
        model, (hidden, inner, heads, kv) = self.model, self._widths
        kept = model.n_layers * (4 * hidden + 2 * inner + 2 * (heads - kv)) / 2  # layers above
        one = kept + 4 * length * kv + 4 * inner + 2 * model.head.shape[0]
        return max(1, int(self.memory / 2 / (model.n_layers * one * self._size)))

    def groups(self, needs: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Split prompts whose bases need so many bytes into runs that fit in half of the memory."""
        return groups(needs, self.memory // 2)

    @property
    def _widths(self) -> tuple[int, int, int, int]:
        """Hidden size, neurons, and the widths of queries, keys and values together, of keys."""
        spec = self.model.blocks[0].attention
        hidden, inner = self.model.blocks[0].mlp.down.shape
        kv = spec.n_kv_heads * spec.head_dim
        return hidden, inner, spec.n_heads * spec.head_dim + 2 * kv, kv

    @property
    def _size(self) -> int:
        return self.model.precision.state.itemsize


def groups(needs: Iterable[int], budget: int) -> Iterator[tuple[int, int]]:
    """Split P >= 1 prompts into runs ``first:last`` that need no more than ``budget`` together.

    A prompt that needs more has a group to itself.
    """
    first = p = used = 0
    for p, need in enumerate(needs):
        if p > first and used + need > budget:
            yield first, p
            first, used = p, 0
        used += need
    yield first, p + 1
