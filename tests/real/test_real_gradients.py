"""Gradients of the real model's sure, likely and unlikely targets, by plain float64 autograd."""

import copy

import numpy as np
import pytest
import torch

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

PROMPT = "one two three four one two three four one two three"
RANKS = [0, 1, 300]
# By gain of the last norm (larger logits round more in float32, and p with them):
# what the likeliest token then lacks, and p of the unlikely one, at most.
GAINS = {4.0: (0.06, 1e-12), 7.0: (5e-3, 1e-20)}
BUDGETS = {torch.float32: 1e-4, torch.bfloat16: 1e-2}


def truth(model, ids, targets):
    """Gradients [K, L, I] of p(target) in the outputs of ``up_proj`` at the last token."""
    seen = []

    def catch(module, args, out):
        probe = torch.zeros_like(out[0, -1], requires_grad=True)
        seen.append(probe)
        return torch.cat([out[:, :-1], (out[:, -1] + probe)[:, None]], 1)

    handles = [one.mlp.up_proj.register_forward_hook(catch) for one in model.model.layers]
    try:
        p = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
    finally:
        for handle in handles:
            handle.remove()
    rows = [torch.autograd.grad(p[token], seen, retain_graph=True) for token in targets]
    return np.stack([torch.stack(row).numpy() for row in rows])[None], p.detach().numpy()


@pytest.mark.parametrize("gain", GAINS)
def test_sure_and_unlikely_targets(smollm2, gain):
    model = copy.deepcopy(smollm2.model)
    model.model.norm.weight.data *= gain
    ids = smollm2.tokenizer(PROMPT)["input_ids"]
    with torch.no_grad():
        order = model(torch.tensor([ids])).logits[0, -1].argsort(descending=True)
    targets = [int(order[rank]) for rank in RANKS]
    with exact_float64(copy.deepcopy(model).double()) as exact:
        expected, p = truth(exact, ids, targets)
    lacks, unlikely = GAINS[gain]
    assert 1 - p[targets[0]] < lacks
    assert 0 < p[targets[2]] < unlikely
    largest = np.abs(expected).max(axis=-1, keepdims=True)
    for operand, budget in BUDGETS.items():
        found = Engine(model, smollm2.tokenizer, gemm_dtype=operand).gradients(
            [ids], [targets], method="delta"
        )
        assert_close(found.cg, expected, budget=budget, relative_to=largest)
