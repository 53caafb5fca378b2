"""Which method serves which model, and what is said about it."""

import logging

import numpy as np
import pytest
import torch
from small_models import SIZES, build
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
)

from negkernel import Engine
from negkernel.testing.compare import assert_close


def bigcode():
    """An architecture without a family: one key head, fused projections, learned positions."""
    return randomised(
        GPTBigCodeForCausalLM(
            GPTBigCodeConfig(
                vocab_size=101, n_positions=64, n_embd=32, n_layer=2, n_head=4, n_inner=40
            )
        )
    )


def bloom():
    """An architecture without position ids: ALiBi."""
    return randomised(
        BloomForCausalLM(BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4))
    )


def randomised(model):
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


def test_auto_takes_delta_for_a_known_family(prompts, targets, neurons, shifts, caplog):
    engine = Engine(build("mistral"))
    with caplog.at_level(logging.INFO, "negkernel"):
        sweep = engine.sweep(prompts, targets, neurons, shifts)
    assert sweep.method == "delta"
    assert "method delta" in caplog.text
    assert "mistral" in caplog.text


def test_auto_takes_generic_for_an_unknown_one(prompts, targets, shifts, caplog):
    engine = Engine(bigcode())
    assert engine.site == "post"
    neurons = [[0, 3], [1, 39]]
    with caplog.at_level(logging.INFO, "negkernel"):
        auto = engine.sweep(prompts, targets, neurons, shifts)
    assert auto.method == "generic"
    assert "method generic" in caplog.text
    assert "gpt_bigcode" in caplog.text
    full = engine.sweep(prompts, targets, neurons, shifts, method="full")
    assert np.abs(full.logprob_shift).max() > 0.1
    # Rounding of attention and norms, which this architecture computes in float32.
    assert_close(
        auto.logprob_shift,
        full.logprob_shift,
        budget=2e-5,
        relative_to=np.abs(full.logprob_shift).max(),
    )


def test_delta_refuses_an_unknown_family(prompts, targets, shifts):
    engine = Engine(bigcode())
    with pytest.raises(NotImplementedError, match=r"'gpt_bigcode'.*llama.*method='suffix'"):
        engine.sweep(prompts, targets, [[0, 3]], shifts, method="delta")
    with pytest.raises(NotImplementedError, match=r"method='suffix'"):
        engine.gradients(prompts, targets, method="delta")


def test_auto_gradients_of_an_unknown_family(prompts, targets):
    """Through autograd, against central differences of whole forwards."""
    engine = Engine(bigcode())
    gradients = engine.gradients(prompts, targets)
    step = 1e-3  # float32 parts: smaller steps measure rounding
    sweep = engine.sweep(
        prompts, targets, [[0, 3], [1, 39]], [-step, step], axis="signed", method="full"
    )
    cg = np.stack([gradients.cg[:, :, 0, 3], gradients.cg[:, :, 1, 39]], axis=-1)
    assert_close(cg, sweep.neg(), budget=1e-3, relative_to=np.abs(cg).max())


def test_suffix_repeats_the_cache_where_rows_cannot_share_it(prompts, targets, shifts, caplog):
    engine = Engine(bloom())
    neurons = [[0, 3], [1, 100]]
    full = engine.sweep(prompts, targets, neurons, shifts, method="full").logprob_shift
    with caplog.at_level(logging.INFO, "negkernel"):
        suffix = engine.sweep(prompts, targets, neurons, shifts, method="suffix").logprob_shift
    assert "takes no position_ids" in caplog.text
    assert_close(suffix, full, budget=2e-5, relative_to=np.abs(full).max())


@pytest.mark.parametrize("place", ["model.layers.1.mlp", "lm_head", "model.norm"])
def test_a_users_hook_is_obeyed(place, prompts, targets, neurons, shifts):
    """A hook may change outputs: delta would not run it and refuses, auto takes another."""
    model = build("llama")
    bare = Engine(model).sweep(prompts, targets, neurons, shifts, method="full").logprob_shift
    handle = model.get_submodule(place).register_forward_hook(
        lambda module, args, output: output * 0.5
    )
    engine = Engine(model)
    with pytest.raises(NotImplementedError, match=rf"{place}.*hook.*suffix"):
        engine.sweep(prompts, targets, neurons, shifts, method="delta")
    auto = engine.sweep(prompts, targets, neurons, shifts)
    full = engine.sweep(prompts, targets, neurons, shifts, method="full")
    assert auto.method in ("generic", "suffix")
    largest = np.abs(full.logprob_shift).max()
    assert_close(auto.logprob_shift, full.logprob_shift, budget=2e-5, relative_to=largest)
    assert np.abs(full.logprob_shift - bare).max() > 1e-2 * largest, "the hook did not run"
    assert engine.gradients(prompts, targets).cg.shape[-2:] == (3, 40)
    handle.remove()
    assert engine.sweep(prompts, targets, neurons, shifts).method == "delta"


def test_a_replaced_projection_is_measured(prompts, targets, neurons, shifts):
    """An adapter computes something else than its matrix: twice, which is a matrix again."""

    class Adapter(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    model = build("llama")
    sizes = SIZES["hidden_size"], SIZES["intermediate_size"]
    model.model.layers[0].mlp.up_proj = Adapter(*sizes, bias=False, dtype=torch.float64)
    engine = Engine(model)
    found = engine.sweep(prompts, targets, neurons, shifts)
    full = engine.sweep(prompts, targets, neurons, shifts, method="full").logprob_shift
    assert_close(found.logprob_shift, full, budget=2e-5, relative_to=np.abs(full).max())
