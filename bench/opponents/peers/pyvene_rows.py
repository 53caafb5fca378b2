"""Sweeps in pyvene: an intervention of one's own, with an amount for each row of the batch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.asked import moved


class Plain:
    """Whole forwards of a batch; a layer's intervention is built once."""

    batch = 50

    def __init__(self, model: Any):
        self.model, self.pyvene = model, import_module("pyvene")

    def begin(self, tokens: list[int]) -> Any:
        """A batch has the prompt once a row."""
        return torch.tensor([tokens]), {}

    def intervenable(self, layer: int) -> tuple[Any, Any]:
        """Return the model with an intervention in a layer's up projection, and that."""

        class Move(self.pyvene.ConstantSourceIntervention):  # type: ignore[name-defined]
            def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
                row, base = torch.arange(len(base)), base.clone()
                base[row, ..., self.neurons] = moved(base[row, ..., self.neurons].T, self.amounts).T
                return base

        move = Move(keep_last_dim=True)
        place = {"component": f"model.layers[{layer}].mlp.up_proj.output", "intervention": move}
        return self.pyvene.IntervenableModel(place, model=self.model), move

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        tokens, built = shared
        if layer not in built:
            built[layer] = self.intervenable(layer)
        model, move = built[layer]
        move.neurons, move.amounts = neurons, amounts
        ids = tokens.expand(len(neurons), -1)
        at = {"base": [[[tokens.shape[1] - 1]] * len(neurons)]}
        _, out = model({"input_ids": ids, "logits_to_keep": 1}, unit_locations=at)
        return out.logits[:, -1].log_softmax(-1)[:, target]
