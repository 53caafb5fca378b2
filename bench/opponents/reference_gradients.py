"""Gradients as the paper's reference takes them: a graph over all tokens, one backward a label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def reference_gradients(model: Any, tokens: list[int], targets: list[int]) -> Tensor:
    """Gradients of p(target) in every up-projection neuron at the last token.

    Returns
    -------
    Tensor [K, L, I]
        In probability per unit of activation.
    """
    neurons: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], up: Tensor) -> None:
        neurons.append(up)

    handles = [block.mlp.up_proj.register_forward_hook(keep) for block in model.model.layers]
    try:
        with torch.enable_grad():
            ids = torch.tensor([tokens], device=model.device)
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
            prob = logits.softmax(dim=-1)
            labels = [
                torch.stack(
                    [
                        gradient[0, -1]
                        for gradient in torch.autograd.grad(prob[t], neurons, retain_graph=True)
                    ]
                )
                for t in targets
            ]
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(labels)
