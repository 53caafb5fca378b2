"""Shifts a second: the delta forward against hooks, the expert recipe and a plain forward."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import torch

import negkernel
from bench.contest import Contestant, contest
from bench.memory import sweep_memory
from bench.models import BASE, TINY, Draw, Shape, draws, random_llama
from bench.opponents.expert import calibrated
from bench.opponents.expert_masked import calibrated_masked
from bench.opponents.hooks import BATCH, hooks_rows, plain_forward
from bench.registry import Settings
from bench.report import Record

OURS = "negkernel delta"
HOOKS = "hooks, a forward per shift"
# Rows differ in log p by thousandths to tenths of a nat. Rounding of a whole float32 forward is
# 1e-6 nat, which comes to 1e-4 of the largest row; a wrong row is off by its own size.
BUDGET = 2e-3
# Each product loses 2^-9 of a row; of the 70 between a neuron and its log-prob, 8 times as much is
# left. Measured: 1 to 2 % of the largest row.
BF16_BUDGET = 5e-2
TOL = 1e-3


def run(settings: Settings) -> list[Record]:
    """One prompt, one layer at two lengths; then several prompts and all layers in one call."""
    shape = TINY if settings.quick else BASE
    if settings.rows is not None:
        return [sweep_memory(shape, settings.rows, settings.device)]
    neurons, shifts = (4, 25) if settings.quick else (32, 100)
    model = random_llama(shape, device=settings.device)
    grid = torch.linspace(-2, 2, shifts)
    layers = torch.full((neurons,), 6 * shape.layers // 16)
    records = []
    for tokens, goal in ((48, 38.0), (200, 170.0)):
        records += _one_prompt(model, shape, layers, grid, tokens, goal, settings)
    return records + _many_prompts(model, shape, layers, grid, settings)


def _one_prompt(
    model: Any,
    shape: Shape,
    layers: torch.Tensor,
    grid: torch.Tensor,
    tokens: int,
    goal: float,
    settings: Settings,
) -> list[Record]:
    rounds = draws(shape, prompts=1, tokens=tokens, targets=1, layers=layers)
    rows = len(layers) * len(grid)
    # A whole hooks sweep takes minutes: one batch of rows, the same for all, stands for it.
    sample = torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:BATCH]
    first = next(rounds)
    expert = calibrated(model, first.tokens, first.target, first.neurons, grid)
    masked = calibrated_masked(expert, first.tokens, first.target, first.neurons, grid)
    engine = negkernel.Engine(model)
    half = negkernel.Engine(model, gemm_dtype=torch.bfloat16)

    def asked(engine: negkernel.Engine, draw: Draw, **options: Any) -> negkernel.Sweep:
        request = draw.prompts, [draw.target], draw.neurons.numpy(), grid.numpy()
        return engine.sweep(*request, method="delta", **options)

    def delta(draw: Draw) -> np.ndarray:
        return asked(engine, draw).logprob_shift.reshape(-1)[sample]

    def in_half(draw: Draw) -> np.ndarray:
        return asked(half, draw).logprob_shift.reshape(-1)[sample]

    def spectral(draw: Draw) -> np.ndarray:
        curves = asked(engine, draw, resolution="spectral", tol=TOL)
        return curves.logprob_shift.reshape(-1)[sample]

    def recipe(draw: Draw) -> np.ndarray:
        change = expert.sweep(draw.tokens, draw.target, draw.neurons, grid)
        return change.reshape(-1)[sample].numpy()

    def masked_recipe(draw: Draw) -> np.ndarray:
        change = masked.sweep(draw.tokens, draw.target, draw.neurons, grid)
        return change.reshape(-1)[sample].numpy()

    def hooks(draw: Draw) -> np.ndarray:
        neurons = draw.neurons.repeat_interleave(len(grid), 0)[sample]
        amounts = grid.repeat(len(layers))[sample]
        return hooks_rows(model, draw.tokens, draw.target, neurons, amounts).numpy()

    def plain(draw: Draw) -> None:
        plain_forward(model, draw.prompts)

    share = len(sample) / rows
    return contest(
        f"{tokens} tokens, one layer",
        [
            Contestant(
                OURS,
                delta,
                note=f"{shape}; {len(layers)} neurons of layer {int(layers[0])} x "
                f"{len(grid)} shifts",
            ),
            Contestant(
                HOOKS,
                hooks,
                work=share,
                goal=goal,
                note=f"timed on {len(sample)} of {rows:,} rows and scaled",
            ),
            Contestant(
                "expert recipe, masked sdpa",
                masked_recipe,
                goal=1.25,
                note=f"chunks of {masked.rows} rows, {masked.head_rows} in the head, "
                f"{masked.sequence} in a masked sequence",
            ),
            Contestant(
                "expert recipe, flash + log-sum-exp",
                recipe,
                goal=1.0,
                note=f"chunks of {expert.rows} rows, {expert.head_rows} in the head; "
                "stronger than the recipe that the goal of 1.25 names",
            ),
            Contestant(
                f"{OURS}, bf16 operands",
                in_half,
                budget=BF16_BUDGET,
                note="the same float32 model; error: largest of a row over the largest row",
            ),
            Contestant(
                "negkernel spectral",
                spectral,
                rows=asked(engine, first, resolution="spectral", tol=TOL).rows,
                budget=BUDGET + TOL,
                note=f"tol {TOL:g}; all {len(grid)} shifts come back, rows are those computed",
            ),
            Contestant(
                "plain forward", plain, counted=False, note="one forward of the prompt, no shift"
            ),
        ],
        list(islice(rounds, settings.repeats + 1)),
        truth=HOOKS,
        budget=BUDGET,
        rows=rows,
        device=settings.device,
    )


def _many_prompts(
    model: Any, shape: Shape, layers: torch.Tensor, grid: torch.Tensor, settings: Settings
) -> list[Record]:
    """Eight prompts and a neuron of every layer in one call, beside one prompt and one layer."""
    prompts, tokens = 8, 48
    spread = torch.arange(shape.layers)
    many, one = prompts * len(spread) * len(grid), len(layers) * len(grid)
    # Hooks see a third of the layers, and the last shift.
    checked = spread[::3]
    engine = negkernel.Engine(model)
    rounds = draws(shape, prompts=prompts, tokens=tokens, targets=1, layers=spread)

    def call(draw: Draw) -> np.ndarray:
        targets = [ids[0] for ids in draw.targets]
        sweep = engine.sweep(
            draw.prompts, targets, draw.neurons.numpy(), grid.numpy(), method="delta"
        )
        return sweep.logprob_shift[:, checked, -1].reshape(-1)

    def single(draw: Draw) -> None:
        index = torch.arange(len(layers))
        neurons = torch.stack([layers, index], 1)
        engine.sweep(
            draw.prompts[:1], draw.targets[0], neurons.numpy(), grid.numpy(), method="delta"
        )

    def hooks(draw: Draw) -> np.ndarray:
        amounts = grid[-1].expand(len(checked))
        values = [
            hooks_rows(model, prompt, target[0], draw.neurons[checked], amounts)
            for prompt, target in zip(draw.prompts, draw.targets, strict=True)
        ]
        return torch.cat(values).numpy()

    return contest(
        f"{prompts} x {tokens} tokens, all layers",
        [
            Contestant(
                f"{OURS}, one call",
                call,
                note=f"{shape}; a neuron of each layer x {len(grid)} shifts x {prompts} prompts",
            ),
            Contestant(
                HOOKS,
                hooks,
                work=prompts * len(checked) / many,
                note=f"timed on {prompts * len(checked)} of {many:,} rows and scaled",
            ),
            Contestant(
                f"{OURS}, one prompt and layer",
                single,
                work=one / many,
                goal=1.0,
                note=f"timed on {one:,} rows and scaled to {many:,}",
            ),
        ],
        list(islice(rounds, settings.repeats + 1)),
        truth=HOOKS,
        budget=BUDGET,
        rows=many,
        device=settings.device,
    )
