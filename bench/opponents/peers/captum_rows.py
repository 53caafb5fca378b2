"""Sweeps in captum: the neurons are features of a layer, ablated to shifted activations."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.asked import Sweep, moved


class FeatureAblation:
    """One call a shift: each neuron in a forward of its own, ``batch`` of them at once."""

    batch = 50

    def __init__(self, model: Any):
        self.model, self.attr = model, import_module("captum.attr")

    @torch.no_grad()
    def sweep(self, sweep: Sweep) -> Tensor:
        """Differences of log p(target) [N, J] in nats."""
        tokens = torch.tensor([sweep.tokens])
        out = torch.empty(len(sweep.neurons), sweep.columns)
        for layer in sweep.neurons[:, 0].unique().tolist():
            chosen = sweep.neurons[:, 0] == layer
            index = sweep.neurons[chosen, 1]
            module = self.model.model.layers[layer].mlp.up_proj
            up = self.attr.LayerActivation(self.model, module).attribute(tokens)
            features = torch.zeros_like(up, dtype=torch.int64)
            features[0, -1, index] = 1 + torch.arange(len(index))  # 0: all else
            ablation = self.attr.LayerFeatureAblation(
                lambda ids: (
                    self.model(ids, use_cache=False, logits_to_keep=1)
                    .logits[:, -1]
                    .log_softmax(-1)[:, sweep.target]
                ),
                module,
            )
            amounts = [None] if sweep.amounts is None else list(sweep.amounts)
            found = [
                -ablation.attribute(
                    tokens,
                    layer_baselines=moved(up, amount),
                    layer_mask=features,
                    perturbations_per_eval=min(self.batch, len(index) + 1),
                )[0, -1, index]
                for amount in amounts
            ]
            out[chosen] = torch.stack(found, 1)
        return out
