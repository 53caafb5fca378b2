"""Draw what is asked: prompts of facts in a row, neurons, shifts, labels."""

from __future__ import annotations

import torch

from bench.opponents.hooks import plain_forward
from bench.opponents.peers.asked import Sweep
from bench.peers.models import Models
from neurgrad import demo

LABELS = 4


class Asks:
    """Questions on one model.

    Attributes
    ----------
    lengths : tuple of int
        Tokens of a short and of a long prompt.
    """

    def __init__(self, models: Models, lengths: tuple[int, int], *, quick: bool):
        self.models, self.lengths, self.quick = models, lengths, quick
        config = models.model.config
        self.layers, self.inner = config.num_hidden_layers, config.intermediate_size

    def prompt(self, length: int, seed: int) -> list[int]:
        """Facts in random order, cut at the front to ``length`` tokens; the last one is open."""
        facts = demo.prompts("causal").sample(40, random_state=seed)
        text = " ".join(f"{one.prompt} {one.answer}." for one in facts[:-1].itertuples())
        ids: list[int] = self.models.tokenizer(f"{text} {facts['prompt'].iloc[-1]}")["input_ids"]
        return ids[-length:]

    def labels(self, prompt: list[int], count: int = LABELS) -> list[int]:
        """The likeliest next tokens."""
        logits = plain_forward(self.models.model, [prompt])[0]
        found: list[int] = logits.topk(count).indices.tolist()
        return found

    def one_layer(self, length: int) -> Sweep:
        """32 neurons of a layer a third up, 100 shifts."""
        layer = torch.full((4 if self.quick else 32,), self.layers // 3)
        return self._sweep(length, layer, torch.linspace(-2, 2, 100))

    def all_layers(self, length: int) -> Sweep:
        """8 neurons of every layer, 100 shifts, in random order."""
        layers = torch.arange(self.layers).repeat(1 if self.quick else 8)
        order = torch.randperm(len(layers), generator=torch.Generator().manual_seed(1))
        return self._sweep(length, layers[order], torch.linspace(-2, 2, 100))

    def ablation(self, length: int) -> Sweep:
        """All neurons of a layer, each set to 0."""
        layer = torch.full((32 if self.quick else self.inner,), self.layers // 3)
        return self._sweep(length, layer, None)

    def _sweep(self, length: int, layers: torch.Tensor, amounts: torch.Tensor | None) -> Sweep:
        prompt = self.prompt(length, seed=length)
        index = torch.randperm(self.inner, generator=torch.Generator().manual_seed(0))
        index = index.repeat(-(-len(layers) // self.inner))[: len(layers)]
        neurons = torch.stack([layers, index], 1)
        return Sweep(prompt, self.labels(prompt, 1)[0], neurons, amounts)


def cells(sweep: Sweep, neurons: int, every: int) -> Sweep:
    """Return the first neurons, and one of ``every`` shifts."""
    amounts = None if sweep.amounts is None else torch.arange(0, len(sweep.amounts), every)
    return sweep.of(torch.arange(neurons), amounts)


def share(part: Sweep, whole: Sweep) -> float:
    """Share of the rows."""
    return len(part.neurons) * part.columns / (len(whole.neurons) * whole.columns)
