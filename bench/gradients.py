"""Gradients of all neurons for K labels: last-token VJPs against plain and full passes."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch

import negkernel
from bench.contest import Contestant, contest
from bench.models import BASE, TINY, Draw, draws, random_llama
from bench.opponents.hooks import plain_forward
from bench.opponents.reference_gradients import reference_gradients
from bench.registry import Settings
from bench.report import Record

LABELS = 4
BACKWARDS = f"{LABELS} full backwards"
# Both are float32 and sum over the same layers in another order: 1e-6 of the largest gradient
# here, where a wrong label, layer or sign is off by the gradient itself.
BUDGET = 1e-4


def run(settings: Settings) -> list[Record]:
    """One prompt of 64 tokens and a batch of eight, four labels each."""
    shape = TINY if settings.quick else BASE
    tokens = 16 if settings.quick else 64
    model = random_llama(shape, device=settings.device)
    engine = negkernel.Engine(model)
    records = []
    # The engine's price over a plain forward of the same batch may be 1.6 and 1.2.
    for prompts, price in ((1, 1.6), (8, 1.2)):
        rounds = draws(
            shape,
            prompts=prompts,
            tokens=tokens,
            targets=LABELS,
            layers=torch.empty(0, dtype=torch.int64),
        )

        def ours(draw: Draw) -> np.ndarray:
            return engine.gradients(draw.prompts, draw.targets, method="delta").cg

        def backwards(draw: Draw) -> np.ndarray:
            asked = zip(draw.prompts, draw.targets, strict=True)
            return torch.stack([reference_gradients(model, *one).cpu() for one in asked]).numpy()

        def plain(draw: Draw) -> None:
            plain_forward(model, draw.prompts)

        records += contest(
            f"{prompts} x {tokens} tokens, {LABELS} labels",
            [
                Contestant("negkernel", ours, note=f"{shape}; rows are prompts x labels"),
                Contestant(
                    "plain forward",
                    plain,
                    goal=1 / price,
                    counted=False,
                    note=f"the goal is a price of at most {price} plain forwards",
                ),
                Contestant(
                    BACKWARDS, backwards, goal=4.0, note="prompt by prompt, as the reference does"
                ),
            ],
            list(islice(rounds, settings.repeats + 1)),
            truth=BACKWARDS,
            budget=BUDGET,
            rows=prompts * LABELS,
            device=settings.device,
        )
    return records
