"""Enter the libraries into a sweep: who is here, and the part of it that they are timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.opponents.peers import (
    asked,
    bridge,
    captum_rows,
    hooked,
    nnsight_rows,
    prefix,
    pyvene_rows,
)
from bench.opponents.peers.asked import Sweep, changes
from bench.peers.asks import share
from bench.peers.case import Entrant
from bench.peers.models import Models, missing

WITH_CACHE = prefix.prefix_cache, prefix.copies, asked.moved


@dataclass(frozen=True)
class Asked:
    """A sweep, and the few of its cells that everyone must agree on before they are timed."""

    whole: Sweep
    few: Sweep

    def entrant(
        self, name: str, answer: Callable[[Sweep], np.ndarray], part: Sweep, **options: Any
    ) -> Entrant:
        """Enter ``answer``, timed on a part."""
        work, rows = share(part, self.whole), len(part.neurons) * part.columns
        scaled = [] if work == 1 else [f"timed on {rows:,} rows and scaled"]
        note = "; ".join([*filter(None, [options.pop("note", "")]), *scaled])
        check = partial(answer, self.few)
        return Entrant(name, partial(answer, part), check, work=work, note=note, **options)


class Libraries:
    """The libraries that are here, each with a copy of the model, made when first asked."""

    def __init__(self, models: Models):
        self.models = models
        self.made: dict[str, Any] = {}

    def entrant(self, name: str, asked: Asked, part: Sweep, goal: float | None = None) -> Entrant:
        """Enter a library, timed on a part of what is asked."""
        make, absent, code = self._known()[name]
        if absent is not None:
            return Entrant(name, None, code=code, goal=goal, note=absent)
        if name not in self.made:
            self.made[name] = make()
        library = self.made[name]
        run = library.sweep if hasattr(library, "sweep") else partial(changes, library)
        return asked.entrant(name, lambda sweep: run(sweep).numpy(), part, code=code, goal=goal)

    def _known(self) -> dict[str, tuple[Callable[[], Any], str | None, tuple[Any, ...]]]:
        models, tokenizer = self.models, self.models.tokenizer
        nnsight, captum, pyvene = missing("nnsight"), missing("captum"), missing("pyvene")
        lens, legacy = missing("transformer_lens", 4), missing("transformer_lens", 3)
        rows, tl = nnsight_rows, bridge
        return {
            "nnsight, prefix KV + skip": (
                lambda: rows.Skip(models.copy()),
                nnsight,
                (rows.Skip, *WITH_CACHE),
            ),
            "nnsight, prefix KV": (
                lambda: rows.Prefix(models.copy()),
                nnsight,
                (rows.Prefix, *WITH_CACHE),
            ),
            "nnsight, plain": (
                lambda: rows.Plain(models.copy()),
                nnsight,
                (rows.Plain, asked.moved),
            ),
            "TransformerLens 3, start_at_layer + frozen KV": (
                lambda: hooked.StartAtLayer(models.copy(), tokenizer),
                legacy,
                (hooked.StartAtLayer, asked.moved),
            ),
            "TransformerLens 4 bridge, prefix KV": (
                lambda: tl.Prefix(models.copy(), tokenizer),
                lens,
                (tl.bridged, tl.Plain, tl.Prefix, *WITH_CACHE),
            ),
            "TransformerLens 4 bridge, plain": (
                lambda: tl.Plain(models.copy(), tokenizer),
                lens,
                (tl.bridged, tl.Plain, asked.moved),
            ),
            "pyvene": (
                lambda: pyvene_rows.Plain(models.copy()),
                pyvene,
                (pyvene_rows.Plain, asked.moved),
            ),
            "captum LayerFeatureAblation": (
                lambda: captum_rows.FeatureAblation(models.copy()),
                captum,
                (captum_rows.FeatureAblation, asked.moved),
            ),
        }
