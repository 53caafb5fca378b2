"""``--neurons``: a list, a random draw, the strongest, or all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FORMS = "layer:index,..., random:N, top:N or all"


@dataclass(frozen=True)
class Choice:
    """What ``--neurons`` asks for.

    Attributes
    ----------
    kind : str
        "list", "random", "top" or "all".
    n : int
        How many neurons for each prompt; 0 for "all".
    pairs : tuple of (int, int)
        (layer, index) of a list.
    """

    kind: str
    n: int = 0
    pairs: tuple[tuple[int, int], ...] = ()

    def count(self, engine: Any) -> int:
        """Return how many neurons that is for each prompt of `engine`'s model.

        Raises
        ------
        ValueError
            More than the model has.
        """
        total = len(engine.neurons)
        if self.n > total:
            raise ValueError(f"the model has {total:,} neurons")
        return self.n or total

    def fixed(self, engine: Any, seed: int) -> np.ndarray | None:
        """Return the neurons [N, 2] where they do not depend on the prompt, None for "top".

        Raises
        ------
        ValueError, IndexError
            More than the model has, or one that it does not have.
        """
        import numpy as np

        from negkernel.request.neurons import check_neurons

        if self.kind == "list":
            return check_neurons(np.array(self.pairs), 1, engine.widths)
        n = self.count(engine)
        if self.kind == "top":
            return None
        every: np.ndarray = engine.neurons
        if self.kind == "random":
            every = every[np.sort(np.random.default_rng(seed).choice(len(every), n, replace=False))]
        return every


def parse_neurons(text: str) -> Choice:
    """Read the option's value.

    Parameters
    ----------
    text : str
        ``"3:17,3:18"``, ``"random:100"``, ``"top:16"`` or ``"all"``.

    Raises
    ------
    ValueError
        None of these, a number below 1, or a neuron named twice.
    """
    text = text.strip()
    if text == "all":
        return Choice("all")
    if drawn := re.fullmatch(r"(random|top):(\d+)", text):
        if int(drawn[2]) < 1:
            raise ValueError("expected at least one neuron")
        return Choice(drawn[1], int(drawn[2]))
    if not re.fullmatch(r"\d+:\d+(\s*,\s*\d+:\d+)*", text):
        raise ValueError(f"expected {FORMS}")
    pairs = [tuple(int(part) for part in pair.split(":")) for pair in text.split(",")]
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise ValueError(f"neuron {pair[0]}:{pair[1]} is named twice")
    return Choice("list", len(pairs), tuple((layer, index) for layer, index in pairs))
