"""Integrated gradients of a layer's neurons at the last token, in captum."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.prefix import copies, prefix_cache


def captum_integrated(
    model: Any, tokens: list[int], target: int, layer: int, steps: int, *, prefix: bool
) -> Tensor:
    """Integrated gradients of p(target) [I], all steps in a batch; over a prefix cache or not.

    captum's trapezoid halves the two ends, where the knowledge neurons' authors do not.
    """
    cache, last = prefix_cache(model, tokens) if prefix else (None, torch.tensor([tokens]))
    up = model.model.layers[layer].mlp.up_proj
    seen: list[Tensor] = []
    handle = up.register_forward_hook(lambda module, args, out: seen.append(out[:, -1].detach()))
    with torch.no_grad():
        model(last, past_key_values=None if cache is None else copies(cache, 1))
    handle.remove()

    def prob(values: Tensor) -> Tensor:
        def put(module: Any, args: Any, out: Tensor) -> Tensor:
            return torch.cat([out[:, :-1], values[:, None]], 1)

        handle = up.register_forward_hook(put)
        past = {"use_cache": False} if cache is None else {}
        if cache is not None:
            past = {"past_key_values": copies(cache, len(values))}
        try:
            logits = model(last.expand(len(values), -1), logits_to_keep=1, **past).logits
        finally:
            handle.remove()
        return logits[:, -1].softmax(-1)[:, target]

    attr: Any = import_module("captum.attr")
    path = attr.IntegratedGradients(prob)
    found = path.attribute(seen[0], n_steps=steps, method="riemann_trapezoid")
    return found[0].detach()
