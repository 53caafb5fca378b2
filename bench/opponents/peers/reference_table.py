"""NEG as the paper's notebook takes it: forwards one at a time, a regression through the origin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor

from bench.opponents.peers.asked import Sweep, moved


@torch.no_grad()
def notebook(model: Any, sweep: Sweep) -> tuple[np.ndarray, np.ndarray]:
    """NEG [N] of each neuron, and the changes of p(target) [N, J] that it is taken from.

    A change is two forwards of the prompt, as it is and shifted.
    """

    def prob(layer: int, neuron: int, amount: Tensor) -> float:
        def move(module: Any, args: Any, up: Tensor) -> Tensor:
            up[:, -1, neuron] = moved(up[:, -1, neuron], amount)
            return up

        handle = model.model.layers[layer].mlp.up_proj.register_forward_hook(move)
        try:
            logits = model(torch.tensor([sweep.tokens])).logits[0, -1]
        finally:
            handle.remove()
        return float(logits.softmax(-1)[sweep.target])

    assert sweep.amounts is not None
    nothing, negs, changes = torch.zeros(()), [], []
    for layer, neuron in sweep.neurons.tolist():
        curve = [
            prob(layer, neuron, amount) - prob(layer, neuron, nothing) for amount in sweep.amounts
        ]
        line = LinearRegression(fit_intercept=False)
        line.fit(sweep.amounts.numpy()[:, None], curve)
        negs.append(line.coef_[0])
        changes.append(curve)
    return np.array(negs), np.array(changes)
