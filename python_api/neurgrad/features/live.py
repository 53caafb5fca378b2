"""Score orders that are computed again on every pass, for models too large to keep features of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurgrad.features.batches import stream
from neurgrad.features.packed import PackedScores

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt


class LiveScores:
    """The score orders of prompts without a store: each pass over `blocks` reads the model again.

    Whatever reads an `OrderStore` reads this; nothing but running sums stays in memory. One pass
    ranks the neurons of several probes, a second one counts the votes of the chosen ones:

    >>> for rows, block in live.blocks():  # doctest: +SKIP
    ...     polar.partial_fit(block, live.gold[rows])
    ...     magn.partial_fit(block, live.gold[rows])

    Parameters
    ----------
    engine : Engine
    prompts : sequence of Prompt
    site : str
        Which tensor a neuron is, as in :meth:`negkernel.Engine.gradients`.

    Attributes
    ----------
    gold : int array [Q]
    """

    def __init__(self, engine: Engine, prompts: Sequence[Prompt], *, site: str = "paper") -> None:
        self.engine = engine
        self.prompts = prompts
        self.site = site
        self.gold: NDArray[np.int64] = np.array([prompt.gold for prompt in prompts])

    @property
    def n_prompts(self) -> int:
        """Q."""
        return len(self.prompts)

    @property
    def n_labels(self) -> int:
        """K."""
        return len(self.prompts[0].labels)

    @property
    def n_neurons(self) -> int:
        """N, over all layers."""
        return len(self.engine.neurons)

    def blocks(self) -> Iterator[tuple[slice, PackedScores]]:
        """Compute blocks of consecutive prompts that cover all of them once, each with its rows."""
        for features in stream(self.engine, self.prompts, site=self.site):
            yield features.rows, features.scores
