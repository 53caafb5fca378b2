"""A BERT of base size: sweeps against one full forward per shift, and what they take of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM

import negkernel
from bench.contest import Contestant, contest
from bench.memory import peak_above, with_peak
from bench.models import Draw, Shape, draws
from bench.opponents.hooks import BATCH
from bench.opponents.masked_hooks import masked_hooks_rows
from bench.registry import Settings
from bench.report import Record

BASE = Shape(hidden=768, layers=12, heads=12, kv_heads=12, inner=3072, vocabulary=30_522)
TINY = Shape(hidden=64, layers=4, heads=4, kv_heads=4, inner=96, vocabulary=500)
TOKENS = 32
POSITION = TOKENS // 2
MASK = 103
HOOKS = "hooks, a forward per shift"
PEAK_GB = 2.0
# As for causal sweeps: rounding of a whole float32 forward beside the largest row.
BUDGET = 2e-3


class MaskToken:
    """All that an engine asks of a tokenizer when prompts and targets are token ids."""

    mask_token_id = MASK

    def decode(self, ids: list[int]) -> str:
        """Return the ids as text."""
        return " ".join(map(str, ids))


def run(settings: Settings) -> list[Record]:
    """Sweep 64 neurons x 100 shifts over all layers, then of the last two."""
    shape = TINY if settings.quick else BASE
    neurons, shifts = (8, 25) if settings.quick else (64, 100)
    model = random_bert(shape, settings.device)
    grid = torch.linspace(-2, 2, shifts)
    every = torch.arange(neurons) % shape.layers
    top = shape.layers - 2 + torch.arange(neurons) % 2
    _, peak, _ = peak_above(_prepare, shape, every, shifts, settings.device, device=settings.device)
    # A call over all layers takes a minute: two rounds of it show enough.
    few = replace(settings, repeats=min(settings.repeats, 2))
    records = _contest(f"{neurons} neurons, all layers", model, shape, every, grid, 2.5, few)
    above = _contest(f"{neurons} neurons, last two layers", model, shape, top, grid, 40.0, settings)
    return with_peak(records, peak, PEAK_GB) + with_peak(above, None, None)


def random_bert(shape: Shape, device: str) -> Any:
    """Build a BERT with its usual random weights, in evaluation mode."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        attn_implementation="sdpa",
    )
    return BertForMaskedLM(config).to(device).eval()


def masked_draws(shape: Shape, layers: torch.Tensor) -> Iterator[Draw]:
    """Draw prompts with one mask token, in the middle."""
    for draw in draws(shape, prompts=1, tokens=TOKENS, targets=1, layers=layers):
        tokens = [MASK + 1 if token == MASK else token for token in draw.tokens]
        tokens[POSITION] = MASK
        yield replace(draw, prompts=[tokens])


def _sweep(engine: negkernel.Engine, draw: Draw, grid: torch.Tensor) -> np.ndarray:
    request = draw.prompts, [draw.target], draw.neurons.numpy(), grid.numpy()
    return engine.sweep(*request, method="delta").logprob_shift[0]


def _contest(
    case: str,
    model: Any,
    shape: Shape,
    layers: torch.Tensor,
    grid: torch.Tensor,
    goal: float,
    settings: Settings,
) -> list[Record]:
    engine = negkernel.Engine(model, MaskToken())
    rows = len(layers) * len(grid)
    sample = torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:BATCH]

    def delta(draw: Draw) -> np.ndarray:
        return _sweep(engine, draw, grid).reshape(-1)[sample]

    def hooks(draw: Draw) -> np.ndarray:
        neurons = draw.neurons.repeat_interleave(len(grid), 0)[sample]
        amounts = grid.repeat(len(layers))[sample]
        found = masked_hooks_rows(model, draw.tokens, POSITION, draw.target, neurons, amounts)
        return found.numpy()

    return contest(
        case,
        [
            Contestant(
                "negkernel delta",
                delta,
                note=f"BERT {shape.hidden} wide, {shape.layers} layers, vocabulary "
                f"{shape.vocabulary:,}; {TOKENS} tokens, {len(grid)} shifts",
            ),
            Contestant(
                HOOKS,
                hooks,
                work=len(sample) / rows,
                goal=goal,
                note=f"timed on {len(sample)} of {rows:,} rows and scaled; the vocabulary is read "
                "at the mask token only",
            ),
        ],
        list(islice(masked_draws(shape, layers), settings.repeats + 1)),
        truth=HOOKS,
        budget=BUDGET,
        rows=rows,
        device=settings.device,
    )


def _prepare(
    shape: Shape, layers: torch.Tensor, shifts: int, device: str
) -> tuple[Callable[[], Any], Callable[[], int]]:
    engine = negkernel.Engine(random_bert(shape, device), MaskToken())
    draw = next(masked_draws(shape, layers))
    grid = torch.linspace(-2, 2, shifts)

    def small() -> None:
        _sweep(engine, replace(draw, neurons=draw.neurons[-1:]), grid[:2])

    return small, lambda: _sweep(engine, draw, grid).size
