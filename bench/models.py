"""Random models at stated shapes, and prompts for them. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class Shape:
    """A Llama's shape: ``hidden`` H, ``layers`` L, ``inner`` I, ``vocabulary`` V."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int

    def __str__(self) -> str:
        return f"Llama {self.hidden} wide, {self.layers} layers, vocabulary {self.vocabulary:,}"


BASE = Shape(hidden=768, layers=16, heads=12, kv_heads=12, inner=2048, vocabulary=32_000)
TINY = Shape(hidden=64, layers=4, heads=4, kv_heads=2, inner=96, vocabulary=500)


def random_llama(
    shape: Shape,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    std: float = 0.02,
    seed: int = 0,
) -> Any:
    """Build a Llama with normal weights of standard deviation ``std``, in evaluation mode."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.inner,
        vocab_size=shape.vocabulary,
        initializer_range=std,
        max_position_embeddings=2048,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config).to(device=device, dtype=dtype).eval()


@dataclass(frozen=True)
class Draw:
    """What one round asks: prompts, K targets for each, and neurons (layer, index)."""

    prompts: list[list[int]]
    targets: list[list[int]]
    neurons: torch.Tensor

    @property
    def tokens(self) -> list[int]:
        """The only prompt's tokens."""
        (tokens,) = self.prompts
        return tokens

    @property
    def target(self) -> int:
        """The only prompt's only target."""
        ((target,),) = self.targets
        return target


def draws(
    shape: Shape, *, prompts: int, tokens: int, targets: int, layers: torch.Tensor, seed: int = 0
) -> Iterator[Draw]:
    """Draw random rounds without end.

    Parameters
    ----------
    layers : Tensor [N] int64
        Layer of each neuron; its index in the layer is drawn without repetition.
    """
    generator = torch.Generator().manual_seed(seed)

    def ids(*size: int) -> list[list[int]]:
        drawn: list[list[int]] = torch.randint(shape.vocabulary, size, generator=generator).tolist()
        return drawn

    while True:
        index = torch.randperm(shape.inner, generator=generator)[: len(layers)]
        yield Draw(ids(prompts, tokens), ids(prompts, targets), torch.stack([layers, index], 1))
