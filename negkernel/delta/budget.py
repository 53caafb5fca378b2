"""Count the bytes of bases and of rows: what batches are made by, and what plans are priced by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
# Up to so many, as of an answer, the positions of a batch are as many as the rows of one position:
# beyond that a prompt's attention would be cut up.
FEW_POSITIONS = 8
# Share of the memory that differences of rows may take between two layers, where every pass
# brings all weights in: rows beyond it go through the layers in a pass of their own.
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

    def base(self, length: int, positions: int, read: int = 1, shared: int = 0) -> int:
        """Bytes that a prompt of ``length`` tokens that carries ``positions`` adds to a base.

        Of those it is ``read`` at so many. Its first ``shared`` tokens are other prompts' too: of
        these it has only the copy of keys and values, of one layer at a time, that its rows and
        gradients read.
        """
        model, (hidden, inner, heads, kv) = self.model, self._widths
        kept = model.n_layers * (4 * hidden + 2 * inner + 3 * heads - 2 * kv)
        transient = 4 * hidden + 3 * inner + 3 * heads
        own = (length - shared) * (model.n_layers * 2 * kv + transient) + shared * 4 * kv
        return self._size * (positions * kept + 4 * read * model.head.shape[0] + own)

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
        most = (most if positions <= FEW_POSITIONS else MAX_POSITIONS) // positions
        return max(1, min(most, self.memory // (2 * self.row(length, positions))))

    def held(self, positions: int) -> int:
        """How many rows that carry ``positions`` may be between two layers at once.

        Where weights lie at hand a pass costs nothing, and a batch goes through all layers alone.
        """
        if not self.model.brought:
            return 1
        return max(1, int(HELD_FOR_BROUGHT * self.memory) // self.between(positions))

    def between(self, positions: int) -> int:
        """Bytes of a row that carries ``positions`` and waits between two layers."""
        return positions * self._widths[0] * self._size

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

    def groups(
        self, sizes: Sequence[tuple[int, int, int]], shared: Callable[[int, int], int] | None
    ) -> Iterator[tuple[int, int]]:
        """Split prompts into runs whose bases fit in half of the memory.

        Parameters
        ----------
        sizes : list of (int, int, int)
            Tokens of each prompt, and the positions that it carries and is read at.
        shared : callable, optional
            See :meth:`negkernel.delta.prefix_tree.Beginnings.shared`.
        """

        def saved(first: int, p: int) -> int:
            if shared is None:
                return 0
            return self.base(*sizes[p]) - self.base(*sizes[p], shared(first, p))

        return groups([self.base(*size) for size in sizes], self.memory // 2, saved)

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


def groups(
    needs: Iterable[int], budget: int, saved: Callable[[int, int], int] = lambda first, p: 0
) -> Iterator[tuple[int, int]]:
    """Split P >= 1 prompts into runs ``first:last`` that need no more than ``budget`` together.

    A prompt that needs more has a group to itself. ``saved(first, p)`` is what prompt p need not
    bring into a group that begins at ``first``; it is asked of each prompt in turn.
    """
    first = p = used = 0
    for p, need in enumerate(needs):
        own = need - saved(first, p)
        if p > first and used + own > budget:
            yield first, p
            first, used = p, 0
            own = need - saved(first, p)
        used += own
    yield first, p + 1
