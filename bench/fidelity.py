"""How much of a neuron's empirical gradient survives low precision: delta and full forwards."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import negkernel
from bench.contest import agree
from bench.models import BASE, TINY, Draw, Shape, draws, random_llama
from bench.opponents.hooks import hooks_rows, plain_forward
from bench.registry import Settings
from bench.report import Record
from negkernel.results.statistics import neg, prob_shift
from negkernel.testing.exact import exact_float64

GOAL = 0.9999
# Full bf16 forwards must be visibly wrong on the model, or there is nothing to be better than.
LOST = 0.9
# float32 full forwards of the same weights lose 1e-4 of the largest NEG at most: more means that
# the contestants do not compute the same thing.
BUDGET = 1e-3

TRUTH = "full forwards, float64"


def run(settings: Settings) -> list[Record]:
    """Sweep 64 neurons over the layers by +-2 in every precision; truth is float64."""
    shape = TINY if settings.quick else BASE
    model = fading_llama(shape).to(settings.device)
    neurons, shifts, tokens = (8, 4, 8) if settings.quick else (64, 10, 8)
    layers = torch.arange(neurons) % shape.layers
    draw = next(draws(shape, prompts=1, tokens=tokens, targets=1, layers=layers))
    draw = _with_likeliest_target(model, draw)
    grid = np.linspace(-2, 2, shifts)
    contestants: dict[str, Callable[[], np.ndarray]] = {
        "full forwards, bf16": lambda: _full(model, draw, grid),
        "full forwards, fp16": lambda: _full(_in(model, torch.float16), draw, grid),
        "full forwards, float32": lambda: _full(_in(model, torch.float32), draw, grid),
        "delta, bf16 operands": lambda: _delta(model, draw, grid, torch.bfloat16),
        "delta, fp16 operands": lambda: _delta(
            _in(model, torch.float16), draw, grid, torch.float16
        ),
        "delta, float32 operands": lambda: _delta(model, draw, grid, torch.float32),
    }
    truth, seconds = _timed(lambda: _truth(model, draw, grid))
    case = f"{neurons} neurons, {shifts} shifts, {tokens} tokens"
    records = [_record(case, TRUTH, truth, truth, seconds, note=f"{shape}, weights in bf16")]
    for name, contestant in contestants.items():
        slopes, seconds = _timed(contestant)
        if name.endswith("float32"):
            agree({TRUTH: truth, name: slopes.astype(np.float64)}, TRUTH, BUDGET)
        records.append(_record(case, name, slopes, truth, seconds))
    return records


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


def _with_likeliest_target(model: Any, draw: Draw) -> Draw:
    target = int(plain_forward(model, draw.prompts)[0].argmax())
    return replace(draw, targets=[[target]])


def _full(model: Any, draw: Draw, grid: np.ndarray) -> np.ndarray:
    amounts = torch.from_numpy(grid).repeat(len(draw.neurons))
    neurons = draw.neurons.repeat_interleave(len(grid), 0)
    change = hooks_rows(model, draw.tokens, draw.target, neurons, amounts)
    base = plain_forward(model, draw.prompts)[0].double().log_softmax(-1)[draw.target]
    return neg(grid, prob_shift(base.cpu().numpy(), change.view(-1, len(grid)).numpy()))


def _delta(model: Any, draw: Draw, grid: np.ndarray, operand: torch.dtype) -> np.ndarray:
    engine = negkernel.Engine(model, gemm_dtype=operand)
    sweep = engine.sweep(draw.prompts, [draw.target], draw.neurons.numpy(), grid, method="delta")
    return sweep.neg()[0]


def _truth(model: Any, draw: Draw, grid: np.ndarray) -> np.ndarray:
    with exact_float64(_in(model, torch.float64)) as exact:
        return _full(exact, draw, grid)


def _in(model: Any, dtype: torch.dtype) -> Any:
    return copy.deepcopy(model).to(dtype)


def _timed(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    values = run()
    return values, time.perf_counter() - start


def _record(
    case: str, name: str, slopes: np.ndarray, truth: np.ndarray, seconds: float, note: str = ""
) -> Record:
    correlation = float(np.corrcoef(slopes, truth)[0, 1])
    signs = float(np.mean(np.sign(slopes) == np.sign(truth)))
    goal, reached = "", None
    if name == "delta, bf16 operands":
        goal, reached = f">= {GOAL}, all signs", correlation >= GOAL and signs == 1
    elif name == "full forwards, bf16":
        goal, reached = f"< {LOST}", correlation < LOST
    return Record(
        case,
        name,
        {
            "correlation": correlation,
            "signs": signs,
            "median_neg": float(np.median(np.abs(slopes))),
            "goal": goal,
            "reached": reached,
            "seconds": seconds,
        },
        note,
    )
