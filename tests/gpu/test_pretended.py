"""What surrounds the kernels, on a pretended GPU: no tensor on the wrong device, few waits."""

import sys
from pathlib import Path

import numpy as np
import pretended
import pytest
import torch

# The benchmarks run from the checkout and are not installed.
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.masked import TINY as TINY_BERT
from bench.masked import MaskToken, masked_draws, random_bert
from bench.models import Shape, draws, random_llama
from negkernel import Engine, Intervention
from neurgrad.attribution import integrated_gradients, lpi

SHIFTS = np.linspace(-2, 2, 4)


def calls(engine, prompts, targets, neurons):
    """Return what users ask, by name."""
    both = [Intervention(neurons, np.ones(len(neurons)))]
    found = {
        "sweep": lambda: engine.sweep(prompts, targets, neurons, SHIFTS).logprob_shift,
        "readings": lambda: (
            engine.sweep(prompts, targets, neurons, SHIFTS, metrics=("logprob", "kl", "rank")).kl
        ),
        "gradients": lambda: engine.gradients(prompts, targets).cg,
        "intervene": lambda: engine.intervene(prompts, targets, both).logprob_shift,
    }
    if engine.site == "up":
        found |= {
            "neg_map": lambda: engine.neg_map(prompts, targets).neg,
            "integrated": lambda: integrated_gradients(engine, prompts, targets, steps=2),
            "lpi": lambda: lpi(engine, prompts, targets),
        }
    return found


def llama(layers, dtype=torch.float32):
    shape = Shape(hidden=32, layers=layers, heads=4, kv_heads=2, inner=24, vocabulary=90)
    which = torch.arange(4) % layers
    draw = next(draws(shape, prompts=3, tokens=6, targets=1, layers=which))
    targets = [ids[0] for ids in draw.targets]
    return random_llama(shape, dtype=dtype), (draw.prompts, targets, draw.neurons.numpy())


def bert():
    draw = next(masked_draws(TINY_BERT, torch.arange(4)))
    return random_bert(TINY_BERT, "cpu"), (draw.prompts, [draw.target], draw.neurons.numpy())


@pytest.mark.parametrize("name", ["llama", "llama in bfloat16", "bert"])
def test_every_call_finds_what_the_cpu_finds(name, monkeypatch):
    half = name.endswith("bfloat16")
    model, asked = bert() if name == "bert" else llama(3, torch.bfloat16 if half else torch.float32)
    tokenizer = MaskToken() if name == "bert" else None
    expected = {what: call() for what, call in calls(Engine(model, tokenizer), *asked).items()}
    pretended.move(model)
    with pretended.gpu(monkeypatch):
        found = {what: call() for what, call in calls(Engine(model, tokenizer), *asked).items()}
    # Other orders of summation, and in half precision a rounding here and there.
    budget = 3e-2 if half else 1e-4
    for what, value in expected.items():
        error = np.abs(found[what] - value).max()
        assert error <= budget * np.abs(value).max(), what
    assert pretended.counted["launches"] > 1000


def test_a_layer_of_rows_costs_few_launches_and_waits(monkeypatch):
    counts = []
    for layers in (3, 5):
        model, asked = llama(layers)
        pretended.move(model)
        with pretended.gpu(monkeypatch):
            Engine(model).sweep(*asked, SHIFTS)
        counts.append(dict(pretended.counted))
    few, many = counts
    # Base and rows of a layer together; 118, 10 and 2.5 were counted when this was written.
    for what, most in {"launches": 125, "copies": 11, "waits": 3}.items():
        assert 0 < (many[what] - few[what]) / 2 <= most, what


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(monkeypatch):
    with pretended.gpu(monkeypatch):
        x = torch.ones(3).to(pretended.CUDA)
        assert x.is_cuda
        assert x.device.type == "cuda"
        assert (2 * x + torch.tensor(1.0)).cpu().tolist() == [3.0, 3.0, 3.0]
        assert x[torch.tensor([0, 2])].is_cuda
        with pytest.raises(AssertionError, match="two devices"):
            x + torch.ones(3)
        with pytest.raises(AssertionError, match="two devices"):
            torch.ones(3)[torch.zeros(2, dtype=torch.int64).to(pretended.CUDA)]
        with pytest.raises(TypeError, match="pretended GPU"):
            x.numpy()
