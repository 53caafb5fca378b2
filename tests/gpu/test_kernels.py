"""Every kernel compiled for the GPU at hand, and the engine on top of them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# The benchmarks run from the checkout and are not installed.
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.gpu.kernels import check
from bench.models import TINY, draws, random_llama
from bench.op_calls import NAMES
from negkernel import Engine
from negkernel.ops import BACKENDS

pytestmark = pytest.mark.gpu
HEADS = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize(
    ("op", "head"),
    [(op, head) for op in NAMES for head in (HEADS if op == "logprob" else HEADS[:1])],
    ids=str,
)
def test_a_kernel_is_within_budget_and_repeats(op, head):
    check(op, head, "cuda", large=True)


def test_the_cuda_attention_is_within_budget_and_repeats():
    if why_not := BACKENDS["attention"]["cuda"].available():
        pytest.skip(why_not)
    assert check("attention", torch.float32, "cuda", large=True, impl="cuda") > 0


@pytest.mark.parametrize("dtype", HEADS, ids=str)
def test_a_sweep_finds_what_the_cpu_finds(dtype, monkeypatch):
    model = random_llama(TINY, dtype=dtype)
    layers = torch.arange(TINY.layers)
    draw = next(draws(TINY, prompts=3, tokens=9, targets=1, layers=layers))
    shifts = np.linspace(-2, 2, 8)

    def sweep():
        targets = [ids[0] for ids in draw.targets]
        result = Engine(model).sweep(
            draw.prompts, targets, draw.neurons.numpy(), shifts, method="delta"
        )
        return result.logprob_shift

    expected = sweep()
    model.to("cuda")
    got = sweep()
    # The base is computed in another order, and in half precision a rounding apart.
    budget = 1e-5 if dtype == torch.float32 else 2e-2
    assert np.abs(got - expected).max() <= budget * np.abs(expected).max()
    monkeypatch.setenv("NEGKERNEL_BACKEND", "reference")
    assert np.abs(sweep() - got).max() <= budget * np.abs(expected).max()
