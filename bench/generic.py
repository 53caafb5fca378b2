"""Rows a second of method "generic": against delta where there is a family, suffix elsewhere."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import negkernel
from bench.contest import Contestant, contest
from bench.models import BASE, TINY, Draw, Shape, draws
from bench.registry import Settings
from bench.report import Record

OURS = "negkernel generic"
TOKENS, NEURONS, SHIFTS = 48, 32, 100
# Rounding of a whole float32 forward is 1e-6 nat, 1e-4 of the largest row; routers of experts
# add the jumps of rows that lie between two of them.
BUDGET = 2e-3
# Architecture -> its own settings, the method to compare with and the share of its rows a second
# that is the goal.
CASES: dict[str, tuple[dict[str, Any], str, float]] = {
    "llama": ({}, "delta", 0.6),
    "starcoder2": ({}, "suffix", 0.8),
    "cohere2": ({"sliding_window": 64}, "suffix", 0.8),
    "glm4": ({}, "suffix", 0.8),
    "mixtral": ({"num_local_experts": 4, "num_experts_per_tok": 2}, "suffix", 0.8),
    "qwen3_moe": (
        {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1024},
        "suffix",
        0.8,
    ),
}


def run(settings: Settings) -> list[Record]:
    """One prompt, one layer, every architecture of :data:`CASES`."""
    shape = TINY if settings.quick else BASE
    neurons, shifts = (4, 25) if settings.quick else (NEURONS, SHIFTS)
    layers = torch.full((neurons,), 6 * shape.layers // 16)
    grid = torch.linspace(-2, 2, shifts)
    return [record for name in CASES for record in _case(name, shape, layers, grid, settings)]


def random_model(name: str, shape: Shape, device: str) -> Any:
    """Build a model of an architecture at a shape, with normal weights."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        name,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden // shape.heads,
        intermediate_size=shape.inner,
        vocab_size=shape.vocabulary,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **CASES[name][0],
    )
    return AutoModelForCausalLM.from_config(config).to(device).eval()


def _case(
    name: str, shape: Shape, layers: torch.Tensor, grid: torch.Tensor, settings: Settings
) -> list[Record]:
    _, other, goal = CASES[name]
    engine = negkernel.Engine(random_model(name, shape, settings.device))

    def asked(method: str) -> Any:
        def sweep(draw: Draw) -> np.ndarray:
            request = draw.prompts, [draw.target], draw.neurons.numpy(), grid.numpy()
            return engine.sweep(*request, method=method).logprob_shift.reshape(-1)

        return sweep

    rounds = draws(shape, prompts=1, tokens=TOKENS, targets=1, layers=layers)
    rounds = (draw for draw in rounds if _reached(engine, draw))
    return contest(
        f"{name}, {TOKENS} tokens",
        [
            Contestant(OURS, asked("generic"), note=f"{shape}, {len(grid)} shifts"),
            Contestant(f"negkernel {other}", asked(other), goal=goal),
        ],
        list(islice(rounds, settings.repeats + 1)),
        truth=f"negkernel {other}",
        budget=BUDGET,
        rows=len(layers) * len(grid),
        device=settings.device,
    )


def _reached(engine: negkernel.Engine, draw: Draw) -> bool:
    """Whether the neurons' expert is one that the prompt's last token goes to."""
    found = engine.gradients(draw.prompts, [draw.target], method="full", check=False)
    return bool((found.activation[0][tuple(draw.neurons.T)] != 0).all())
