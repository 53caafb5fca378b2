"""Gradients of several labels in all neurons of a prompt: by hand, and in captum."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.prefix import prefix_cache


def last_token_graph(model: Any, tokens: list[int], targets: list[int]) -> Tensor:
    """Gradients of p(target) [K, L, I]: a graph of the last token, over a prefix without one."""
    cache, last = prefix_cache(model, tokens)
    neurons: list[Tensor] = []
    handles = [
        block.mlp.up_proj.register_forward_hook(lambda module, args, up: neurons.append(up))
        for block in model.model.layers
    ]
    try:
        with torch.enable_grad():
            x = model.get_input_embeddings()(last).detach().requires_grad_()
            prob = model(inputs_embeds=x, past_key_values=cache).logits[0, -1].softmax(-1)
            found = [torch.autograd.grad(prob[t], neurons, retain_graph=True) for t in targets]
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([torch.cat([g[:, -1] for g in label]) for label in found])


def captum_gradients(model: Any, tokens: list[int], targets: list[int]) -> Tensor:
    """The same by ``LayerGradientXActivation`` without the product, a call a label."""
    modules = [block.mlp.up_proj for block in model.model.layers]

    def prob(embedded: Tensor, target: int) -> Tensor:
        logits = model(inputs_embeds=embedded, use_cache=False, logits_to_keep=1).logits
        return logits[:, -1].softmax(-1)[:, target]

    attr: Any = import_module("captum.attr")
    gradient = attr.LayerGradientXActivation(prob, modules, multiply_by_inputs=False)
    with torch.enable_grad():
        x = model.get_input_embeddings()(torch.tensor([tokens])).detach()
        found = [gradient.attribute(x, additional_forward_args=t) for t in targets]
    return torch.stack([torch.cat([g[:, -1] for g in label]) for label in found]).detach()
