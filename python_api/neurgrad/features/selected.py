"""Choose prompts of a store of features, as scikit-learn does when it splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurgrad.features.packed import OrderStore, PackedScores, join


def select(store: OrderStore, rows: Any) -> OrderStore:
    """Return the chosen prompts of a store.

    Parameters
    ----------
    store : OrderStore
        Read block by block, now or whenever the choice is read.
    rows : slice, int array or mask, alone or with an ellipsis behind it
        Ascending rows stay on disk; in any other order they are loaded, a byte a neuron.

    Raises
    ------
    IndexError
        Not rows of the store.
    """
    if isinstance(rows, tuple) and len(rows) == 2 and rows[1] is Ellipsis:
        rows = rows[0]
    index = np.atleast_1d(np.arange(store.n_prompts)[rows])
    if index.ndim != 1 or not len(index):
        raise IndexError(f"expected some of the {store.n_prompts} prompts of the store")
    if (np.diff(index) > 0).all():
        return Selected(store, index)
    ascending, place = np.unique(index, return_inverse=True)
    return join([block for _, block in Selected(store, ascending).blocks()])[place]


class Selected:
    """Ascending rows of a store, read from it whenever they are wanted.

    Parameters
    ----------
    store : OrderStore
    rows : int array [q]
        Strictly ascending.
    """

    def __init__(self, store: OrderStore, rows: NDArray[np.integer]) -> None:
        self._store = store
        self._rows = rows

    @property
    def n_prompts(self) -> int:
        """Q."""
        return len(self._rows)

    @property
    def n_labels(self) -> int:
        """K."""
        return self._store.n_labels

    @property
    def n_neurons(self) -> int:
        """N."""
        return self._store.n_neurons

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, K, N)."""
        return (self.n_prompts, self.n_labels, self.n_neurons)

    def __len__(self) -> int:
        return self.n_prompts

    def __getitem__(self, rows: Any) -> OrderStore:
        return select(self, rows)

    def blocks(self) -> Iterator[tuple[slice, PackedScores]]:
        """See :class:`neurgrad.features.OrderStore`."""
        for whole, block in self._store.blocks():
            first, last = np.searchsorted(self._rows, (whole.start, whole.stop))
            if first < last:
                yield slice(first, last), block[self._rows[first:last] - whole.start]
