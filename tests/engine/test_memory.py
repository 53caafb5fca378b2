"""Scratch stays within the budget: no tensor of rows x vocabulary, none of rows x prefix KV."""

import numpy as np
import pytest
import torch
from small_models import SIZES, build
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from negkernel import Engine
from negkernel.delta import method as by_delta

V, P, N, J = 6000, 3, 20, 40
PROMPT_ENDS = np.random.default_rng(1).integers(0, 64, (12, 3)).tolist()
PROMPT = np.random.default_rng(0).integers(0, V, 60).tolist()


class Largest(TorchDispatchMode):
    """Bytes of the largest storage that any operation returns."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.bytes = max([self.bytes, *(t.untyped_storage().nbytes() for t in tensors)])
        return out


@pytest.mark.parametrize("method", ["delta", "suffix"])
def test_largest_tensor(method):
    model = build("llama", torch.float32, vocab_size=V)
    prompts = [[*PROMPT[:-1], last] for last in range(P)]
    neurons = np.stack([np.arange(N) % 3, np.arange(N)], axis=-1)
    budget = 2 * 2**20
    engine = Engine(model, memory_budget=budget)
    with Largest() as largest:
        sweep = engine.sweep(prompts, [[1, 2]] * P, neurons, np.linspace(-1, 1, J), method=method)
    kv = 2 * SIZES["num_key_value_heads"] * SIZES["head_dim"] * len(PROMPT)
    assert sweep.rows == P * N * J
    assert sweep.rows * V * 4 > 20 * budget, "too few rows to tell"
    assert sweep.rows * kv * 4 > 2 * budget, "too few rows to tell"
    weights = max(p.untyped_storage().nbytes() for p in model.parameters())
    assert largest.bytes <= max(budget, weights)


@pytest.mark.parametrize("method", ["delta", "suffix"])
def test_one_layer_of_many_rows_is_one_batch(method, monkeypatch):
    """Rows join: prompts, neurons and shifts go through a weight together, not one by one."""
    model = build("llama", torch.float32)
    products = []
    linear = torch.nn.functional.linear

    def counting(x, weight, *rest):
        if weight.shape[1] == SIZES["hidden_size"]:
            products.append(x.shape[:-1].numel())
        return linear(x, weight, *rest)

    monkeypatch.setattr(torch.nn.functional, "linear", counting)
    neurons = [[0, index] for index in range(15)]
    Engine(model).sweep([[1, 2, 3]] * 2, [1, 2], neurons, np.linspace(-1, 1, 20), method=method)
    per_prompt = 300
    assert max(products) >= (2 * per_prompt if method == "delta" else per_prompt)


def test_a_preamble_that_prompts_share_is_counted_once(monkeypatch):
    """Few-shot prompts that fit one by one fit together, within the same budget."""
    model = build("llama", torch.float32, max_position_embeddings=512)
    preamble = [token % 64 for token in PROMPT * 4]
    prompts = [[*preamble, *PROMPT_ENDS[p]] for p in range(12)]
    traced = []
    whole = by_delta.trace

    def counted(model, tokens, *rest):
        traced.append(len(tokens))
        return whole(model, tokens, *rest)

    neurons, shifts = [[0, 1], [2, 5], [1, 3]], np.linspace(-1, 1, 5)
    alone = [Engine(model).sweep([p], [1], neurons, shifts).logprob_shift for p in prompts]
    slopes = [Engine(model).gradients([p], [1]).cg for p in prompts]
    engine = Engine(model, memory_budget=4 * 2**20)
    engine.sweep(prompts[:1], [1], neurons, shifts)
    engine.gradients(prompts[:1], [1])
    monkeypatch.setattr(by_delta, "trace", counted)
    with Largest() as largest:
        sweep = engine.sweep(prompts, [1] * 12, neurons, shifts)
        gradients = engine.gradients(prompts, [1] * 12)
    assert traced == [12, 12]
    assert largest.bytes <= 2 * 2**20
    # Batches of other sizes: rounding of float32.
    np.testing.assert_allclose(sweep.logprob_shift, np.concatenate(alone), atol=2e-5)
    np.testing.assert_allclose(gradients.cg, np.concatenate(slopes), atol=1e-6)
    del traced[:]
    engine.sweep([[*p[::-1], 1] for p in prompts], [1] * 12, neurons, shifts)
    assert len(traced) > 1, "the budget holds them all: this test shows nothing"
