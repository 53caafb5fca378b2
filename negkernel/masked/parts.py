"""The parts of a masked language model as the engine sees them.

Projections, norms, attention and MLP are the causal engine's (:mod:`negkernel.families.parts`);
what differs is where the norms stand and how hidden states become logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from negkernel.families.parts import MLP, Attention, Norm, Precision, Projection


@dataclass(frozen=True)
class EncoderLayer:
    """One layer: bidirectional attention and an MLP, each with a norm.

    Attributes
    ----------
    attention : Attention
        ``window`` here means both sides: a query sees positions closer than ``window``.
    attention_norm, mlp_norm : Norm or None
        ``post_norm``: applied to the residual sum, ``x = norm(x + branch(x))`` (BERT). Otherwise to
        the branch's input, ``x = x + branch(norm(x))`` (ModernBERT); None means identity.
    rotary : callable or None
        Positions [S] and the prompt's length -> (cos, sin), each [S, D], float32.
    """

    attention: Attention
    mlp: MLP
    attention_norm: Norm | None
    mlp_norm: Norm
    post_norm: bool
    rotary: Callable[[Tensor, int], tuple[Tensor, Tensor]] | None = None

    @property
    def device(self) -> torch.device:
        """Where this layer's weights live."""
        return next(self.mlp.down.module.parameters()).device


@dataclass(frozen=True)
class Head:
    """Hidden state -> logits: ``decoder(norm(activation(dense(x))))``."""

    dense: Projection
    activation: str
    norm: Norm
    decoder: Projection


@dataclass(frozen=True)
class Encoder:
    """A masked language model as the delta forward sees it.

    Attributes
    ----------
    embed : callable
        Token ids [P, S] -> hidden states [P, S, H] in the state dtype.
    final_norm : Norm or None
        Norm between the last layer and the head.
    """

    layers: tuple[EncoderLayer, ...]
    embed: Callable[[Tensor], Tensor]
    head: Head
    final_norm: Norm | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        return self.head.decoder.precision

    def projections(self) -> list[Projection]:
        """Every linear map that is read."""
        found = [self.head.dense, self.head.decoder]
        for layer in self.layers:
            spec, mlp = layer.attention, layer.mlp
            found += [spec.query, spec.key, spec.value, spec.output, mlp.up, mlp.down]
            found += [] if mlp.gate is None else [mlp.gate]
        return found


def layer_norm(module: torch.nn.LayerNorm) -> Norm:
    """Describe a ``nn.LayerNorm``."""
    return Norm(module, module.eps, kind="layer")
