"""Integrated gradients as their authors take them: layer by layer, the steps in one batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def stepwise_gradients(
    model: Any, tokens: list[int], target: int, layers: list[int], steps: int
) -> Tensor:
    """Integrated gradients of p(target) in the up-projection neurons of ``layers``.

    For each layer a full forward of ``steps`` copies of the prompt, each with the last token's
    neurons scaled by its step, and one backward from the last position's logits to that layer;
    weights ask for no gradients.

    Returns
    -------
    Tensor [len(layers), I]
        In probability: activation times the mean gradient.
    """
    ids = torch.tensor([tokens], device=model.device).expand(steps, -1)
    alpha = torch.linspace(0, 1, steps, device=model.device)[:, None]
    scores = []
    for layer in layers:
        seen: dict[str, Tensor] = {}

        def scale(
            module: nn.Module, args: Any, up: Tensor, seen: dict[str, Tensor] = seen
        ) -> Tensor:
            seen["activation"] = up[0, -1].detach().clone()
            seen["scaled"] = (alpha.to(up) * up[:, -1]).requires_grad_()
            return torch.cat([up[:, :-1], seen["scaled"][:, None]], dim=1)

        handle = model.model.layers[layer].mlp.up_proj.register_forward_hook(scale)
        try:
            with torch.enable_grad():
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
                prob = logits.softmax(dim=-1)[:, target]
                (gradient,) = torch.autograd.grad(prob.sum(), seen["scaled"])
        finally:
            handle.remove()
        scores.append(seen["activation"] * gradient.mean(0))
    return torch.stack(scores)
