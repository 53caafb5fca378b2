"""Models whose neurons are swept by the fidelity studies, with what they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.models import BASE, TINY, Shape, draws, random_llama
from bench.opponents.hooks import plain_forward
from neurgrad import demo
from neurgrad.analysis.answered import answered, random_neurons


@dataclass(frozen=True)
class Subject:
    """A model, prompts as token ids, one target each, and neurons [P, N, 2] of each prompt."""

    name: str
    model: Any
    tokenizer: Any
    prompts: list[list[int]]
    targets: list[int]
    neurons: np.ndarray
    note: str

    @property
    def asked(self) -> tuple[list[list[int]], list[int], np.ndarray]:
        """First arguments of a sweep."""
        return self.prompts, self.targets, self.neurons


def subjects(device: str, *, quick: bool) -> Iterator[Subject]:
    """Yield a random Llama whose NEG is as small as a 7B model's, and the embedded models."""
    yield _random(device, TINY if quick else BASE, 8 if quick else 64)
    for kind in ("causal", "masked"):
        yield _embedded(kind, device, *((2, 4) if quick else (8, 25)))


def fading_llama(shape: Shape) -> Any:
    """Build a random bf16 model whose neurons matter as little as those of a 7B model.

    Embeddings that outweigh what each layer adds, and small down projections, make one neuron's
    share of the residual stream small beside its rounding; a larger LM head gives the likeliest
    token a probability worth shifting. The median NEG is a few 1e-6, as the paper's models have.
    """
    model = random_llama(shape, dtype=torch.bfloat16)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10)
        model.lm_head.weight.mul_(3)
        for block in model.model.layers:
            block.mlp.down_proj.weight.mul_(0.5)
    return model


def _random(device: str, shape: Shape, neurons: int) -> Subject:
    """One prompt of 8 random tokens; its target is the likeliest next token."""
    model = fading_llama(shape).to(device)
    layers = torch.arange(neurons) % shape.layers
    draw = next(draws(shape, prompts=1, tokens=8, targets=1, layers=layers))
    target = int(plain_forward(model, draw.prompts)[0].argmax())
    chosen = draw.neurons.numpy()[None]
    note = f"{shape}, weights in bf16, one prompt of 8 tokens"
    return Subject("random Llama", model, None, draw.prompts, [target], chosen, note)


def _embedded(kind: demo.Kind, device: str, prompts: int, neurons: int) -> Subject:
    """Facts that the model knows, in phrasings drawn at random, and random neurons for each."""
    engine = demo.load(kind)
    facts = demo.prompts(kind).sample(frac=1, random_state=0)
    facts = facts.drop_duplicates(["relation", "subject"])
    known = answered(engine, facts["prompt"].tolist(), facts["answer"].tolist(), limit=prompts)
    ids = engine.gradients(known.prompts, known.targets)
    chosen = random_neurons(engine, len(known.rows), neurons, seed=0)
    model = engine.model.to(device)
    tokens = [list(map(int, one)) for one in ids.prompt_tokens]
    targets = [int(one) for one in np.ravel(ids.target_ids)]
    note = f"{type(model).__name__} of {sum(p.numel() for p in model.parameters()):,} weights"
    note = f"{note}, {len(known.rows)} facts"
    return Subject(f"embedded {kind}", model, engine.tokenizer, tokens, targets, chosen, note)
