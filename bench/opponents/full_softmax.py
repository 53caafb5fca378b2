"""Log-probability increase as its authors take it: every neuron's own softmax, a layer at a time.

Written for Llama with the final norm frozen: a layer's neurons are one batch of vectors, their
logits are one matrix [I, V], and the prompts follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class States:
    """A last token: ``middle`` [L, H] after each attention, ``inner`` [L, I], ``final`` [H]."""

    middle: Tensor
    inner: Tensor
    final: Tensor


@torch.no_grad()
def last_states(model: Any, tokens: list[int]) -> States:
    """Run one prompt and keep what its neurons are read from."""
    middle: list[Tensor] = []
    inner: list[Tensor] = []
    final: list[Tensor] = []

    def keep(into: list[Tensor]) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            into.append(args[0][0, -1].clone())

        return hook

    places = [(model.model.norm, final)]
    for block in model.model.layers:
        places += [(block.post_attention_layernorm, middle), (block.mlp.down_proj, inner)]
    handles = [module.register_forward_pre_hook(keep(into)) for module, into in places]
    try:
        model(torch.tensor([tokens], device=model.device), use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return States(torch.stack(middle), torch.stack(inner), final[0])


@torch.no_grad()
def full_softmax(model: Any, states: States, target: int, layers: list[int]) -> Tensor:
    """Increase of log p(target) by each neuron of ``layers``: [len(layers), I] in nats."""
    norm, head = model.model.norm, model.lm_head
    scale = torch.rsqrt(states.final.square().mean() + norm.variance_epsilon) * norm.weight

    def logprob(x: Tensor) -> Tensor:
        logits = head(x * scale)
        out: Tensor = logits[..., target] - logits.logsumexp(dim=-1)
        return out

    increase = []
    for layer in layers:
        x, columns = states.middle[layer], model.model.layers[layer].mlp.down_proj.weight.t()
        moved = torch.addcmul(x, states.inner[layer][:, None], columns)
        increase.append(logprob(moved) - logprob(x))
    return torch.stack(increase)
