"""Neurons of a mixture of experts: those of a layer's routed experts, one expert after another.

transformers keeps the experts' matrices in two tensors and their activations inside one forward,
where no hook reaches. That forward is therefore written out here, with a place for the edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from negkernel.families.feed_forward import Edit


@dataclass(frozen=True)
class Experts:
    """Routed experts of one layer.

    Neuron ``i`` is neuron ``i % n`` of expert ``i // n``, ``n`` neurons to an expert. Where the
    router did not choose its expert for the probed token its activation is 0 and shifting it does
    nothing.

    Attributes
    ----------
    module : nn.Module
        Holds ``gate_up_proj`` [E, 2 n, H], ``down_proj`` [E, H, n] and ``act_fn``; its forward
        takes tokens [T, H], the chosen experts [T, k] and their weights [T, k].
    """

    module: Any

    @property
    def width(self) -> int:
        """Neurons of all experts."""
        n_experts, _, per_expert = self.module.down_proj.shape
        return int(n_experts * per_expert)

    @property
    def gated(self) -> bool:
        """Every expert is a gated MLP."""
        return True

    def site(self, name: str) -> ExpertSite:
        """Return where the resolved site ``name`` can be caught."""
        return ExpertSite(self.module, name)


@dataclass(frozen=True)
class ExpertSite:
    """The experts' "gate", "up" or "post", as columns of one matrix [T, E * n]."""

    module: Any
    name: str

    @contextmanager
    def edited(self, edit: Edit) -> Iterator[None]:
        """Apply ``edit`` in every forward of the experts until left."""
        own = vars(self.module).get("forward")

        def forward(x: Tensor, chosen: Tensor, weight: Tensor) -> Tensor:
            return _forward(self.module, x, chosen, weight, self.name, edit)

        self.module.forward = forward
        try:
            yield
        finally:
            if own is None:
                del self.module.forward
            else:
                self.module.forward = own


def _forward(
    module: Any, x: Tensor, chosen: Tensor, weight: Tensor, name: str, edit: Edit
) -> Tensor:
    T = len(x)
    n_experts, _, per_expert = module.down_proj.shape
    # The router writes n_experts where it drops a choice: one column more, cut off again.
    share = weight.new_zeros(T, n_experts + 1).scatter_add(1, chosen, weight)
    routed = torch.zeros_like(share, dtype=torch.bool).scatter(1, chosen, True)[:, :n_experts]
    used = [(e, routed[:, e].nonzero()[:, 0]) for e in routed.any(0).nonzero()[:, 0].tolist()]

    gate_up = x.new_zeros(T, n_experts, 2 * per_expert)
    for e, tokens in used:
        gate_up[tokens, e] = F.linear(x[tokens], module.gate_up_proj[e])
    gate, up = gate_up.chunk(2, dim=-1)

    def apply(part: Tensor) -> Tensor:
        changed = edit(part.reshape(T, -1))
        return part if changed is None else changed.view(part.shape)

    gate = apply(gate) if name == "gate" else gate
    up = apply(up) if name == "up" else up
    hidden = module.act_fn(gate) * up
    hidden = apply(hidden) if name == "post" else hidden

    out = torch.zeros_like(x)
    for e, tokens in used:
        expert = F.linear(hidden[tokens, e], module.down_proj[e]) * share[tokens, e, None]
        out = out.index_add(0, tokens, expert.to(out.dtype))
    return out


def routed_experts(layer: nn.Module) -> Experts | None:
    """Return a layer's routed experts, None where they are not laid out as :class:`Experts` says.

    Experts with biases, with gate and up interleaved, or with a gate function of their own
    (gpt-oss) are such.
    """
    for module in layer.modules():
        experts = getattr(module, "experts", None)
        if isinstance(experts, nn.Module):
            return Experts(experts) if _plain(experts) else None
    return None


def _plain(experts: Any) -> bool:
    gate_up, down = (getattr(experts, name, None) for name in ("gate_up_proj", "down_proj"))
    if not (isinstance(gate_up, Tensor) and isinstance(down, Tensor) and gate_up.dim() == 3):
        return False
    n_experts, both, hidden = gate_up.shape
    return (
        tuple(down.shape) == (n_experts, hidden, both // 2)
        and hasattr(experts, "act_fn")
        and not getattr(experts, "has_bias", False)
        and not getattr(experts, "has_post_expert_norm", False)
        and not getattr(experts, "is_transposed", False)
        and getattr(experts, "is_concatenated", True)
        and not _own_gate(experts)
    )


def _own_gate(experts: Any) -> bool:
    """Whether the experts' class brings a gate function: transformers gives the others its own."""
    gate = getattr(type(experts), "_apply_gate", None)
    return gate is not None and gate.__module__ == type(experts).__module__
