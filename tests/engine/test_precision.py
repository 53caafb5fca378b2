"""What rounding may cost: the delta form keeps small effects that whole forwards drown."""

import numpy as np
import pytest
import torch
from small_models import build, float64_copy
from transformers import LlamaConfig, LlamaForCausalLM

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

FAMILIES = ["llama", "llama-yarn", "mistral-short-window", "qwen2", "qwen3"]
# A base trace in float32 is off by some 1e-6 of each activation; a few layers and the softmax of
# the curve's slope make 1e-5 of that. The brief is 1e-4.
RELATIVE = 1e-4


def sweeps(model, arguments, **engines):
    """The truth and, by name, sweeps of ``model`` with other engines and methods."""
    with exact_float64(float64_copy(model)) as exact:
        truth = Engine(exact).sweep(*arguments, method="full")
    return truth, {
        name: Engine(model, **options).sweep(*arguments, method=method)
        for name, (method, options) in engines.items()
    }


def error_of_curves(sweep, truth):
    """Largest error of each curve, relative to its largest shift [P, K, N]."""
    error = np.abs(sweep.logprob_shift - truth.logprob_shift).max(-1)
    return error / np.abs(truth.logprob_shift).max(-1)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("name", FAMILIES)
def test_float32_error_follows_the_size_of_the_shift(name, size, prompts, targets, neurons):
    model = build(name, torch.float32)
    arguments = prompts, targets, neurons, size * np.array([-1.0, -0.5, 0.5, 1.0])
    truth, got = sweeps(model, arguments, delta=("delta", {}))
    largest = np.abs(truth.logprob_shift).max(axis=(2, 3), keepdims=True)
    assert_close(
        got["delta"].logprob_shift, truth.logprob_shift, budget=RELATIVE, relative_to=largest
    )
    # And curve by curve, however small: a flat curve may lose digits, half of them keep them all.
    assert np.median(error_of_curves(got["delta"], truth)) < RELATIVE / 10
    assert_close(got["delta"].base_logprob, truth.base_logprob, budget=2e-5)


def test_shifts_of_a_millionth_drown_in_whole_forwards(prompts, targets, neurons):
    model = build("llama", torch.float32)
    arguments = prompts, targets, neurons, np.array([-3e-6, -1e-6, 1e-6, 3e-6])
    truth, got = sweeps(model, arguments, delta=("delta", {}), full=("full", {}))
    assert 1e-8 < np.median(np.abs(truth.logprob_shift)) < 1e-5
    assert np.median(error_of_curves(got["delta"], truth)) < RELATIVE / 10
    assert np.median(error_of_curves(got["full"], truth)) > 1e-2


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_weights(name, prompts, targets):
    """float32 operands read the bf16 weights without loss; bf16 ones round at each product."""
    model = build(name, torch.bfloat16)
    rng = np.random.default_rng(5)
    neurons = np.stack([rng.integers(0, 3, 24), rng.integers(0, 40, 24)], axis=-1)
    arguments = prompts, targets, neurons, 1e-2 * np.array([-2.0, -1.0, 1.0, 2.0])
    truth, got = sweeps(
        model,
        arguments,
        exact=("delta", {"gemm_dtype": torch.float32}),
        rounded=("delta", {"gemm_dtype": torch.bfloat16}),
        full=("full", {}),
    )
    assert got["exact"].dtype == "bfloat16"
    assert got["exact"].logprob_shift.dtype == np.float32
    largest = np.abs(truth.logprob_shift).max(axis=(2, 3), keepdims=True)
    assert_close(
        got["exact"].logprob_shift, truth.logprob_shift, budget=RELATIVE, relative_to=largest
    )
    correlation = {
        name: np.corrcoef(sweep.neg().ravel(), truth.neg().ravel())[0, 1]
        for name, sweep in got.items()
    }
    # With 32 hidden units a bf16 product averages little; at 768 the issue asks for 0.9999.
    assert correlation["rounded"] > 0.995, correlation
    assert correlation["full"] < 0.9, correlation


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_follow_the_models_precision(dtype, prompts, targets, neurons, shifts):
    engine = Engine(build("llama", dtype))
    for method in ("delta", "suffix", "full"):
        sweep = engine.sweep(prompts, targets, neurons, shifts, method=method)
        of_gradients = "auto" if method == "suffix" else method  # gradients have no suffix form
        gradients = engine.gradients(prompts, targets, method=of_gradients)
        for array in (sweep.logprob_shift, sweep.base_logprob, sweep.neg(), gradients.cg):
            assert array.dtype == np.float32
        assert sweep.dtype == str(dtype).removeprefix("torch.")


def test_float32_gradients(prompts, targets):
    model = build("qwen3", torch.float32)
    with exact_float64(float64_copy(model)) as exact:
        truth = Engine(exact).gradients(prompts, targets, method="full")
    delta = Engine(model).gradients(prompts, targets, method="delta")
    largest = np.abs(truth.cg).max(axis=(2, 3), keepdims=True)
    assert_close(delta.cg, truth.cg, budget=1e-5, relative_to=largest)


def test_a_long_tail_of_unlikely_tokens_keeps_its_mass():
    """Tokens too rare for a float32 sum next to a sure one: 60,000 of them hold 1e-3 of p."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": False}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, vocab_size=60_000)).eval()
    ids, neurons = [5, 9, 2], np.stack([np.repeat([0, 1], 24), np.tile(np.arange(24), 2)], axis=1)
    with torch.no_grad():
        h = model.model(torch.tensor([ids])).last_hidden_state[0, -1]
        alike = torch.randn(16)  # what moves all logits alike moves no probability
        model.lm_head.weight.copy_(alike - alike @ h / (h @ h) * h + 0.01 * torch.randn(60_000, 16))
        model.lm_head.weight[7] += 18 * h / (h @ h)
    arguments = [ids], [7], neurons, [-1.0, 1.0]
    truth, got = sweeps(model, arguments, delta=("delta", {}))
    error = np.abs(got["delta"].logprob_shift - truth.logprob_shift).max()
    # All logits move by up to 10, whose rounding is 1e-6; a float32 sum is off by 6e-5 of that.
    assert error < 5e-6
    assert 5e-5 < np.abs(truth.logprob_shift).max() < 5e-4
