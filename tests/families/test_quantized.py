"""4-bit models: the matrix behind a layer, before and after bitsandbytes repacks it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from negkernel import Engine
from negkernel.families.weights import dense_weight
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64
from neurgrad import demo

bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is an optional dependency")

PROMPTS, TARGETS = ["The capital of France is"], ["Paris"]
# Float32 sums of some hundred terms, relative to the largest shift, as for dense models.
FLOAT32 = 3e-5
NEURONS, SHIFTS = [[0, 7], [1, 3], [2, 5], [3, 90]], np.linspace(-2, 2, 9)


@pytest.fixture(scope="module")
def plain():
    return demo.load("causal")


@pytest.fixture
def engine(plain):
    return Engine(quantized(copy.deepcopy(plain.model)), plain.tokenizer)


def quantized(model, **options):
    """Put the layers' projections into NF4, as loading with a quantization_config does."""
    for name, module in list(model.model.named_modules()):
        if isinstance(module, nn.Linear):
            layer = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=False, quant_type="nf4", **options
            )
            layer.weight = bnb.nn.Params4bit(
                module.weight.data, requires_grad=False, quant_type="nf4", **options
            )
            model.model.set_submodule(name, layer.to("cpu"))
    return model.eval()


@pytest.mark.parametrize("nested", [False, True], ids=["plain scales", "nested scales"])
def test_a_repacked_matrix_is_what_its_layer_applies(nested):
    """A first forward repacks it, where the CPU multiplies in bfloat16."""
    torch.manual_seed(0)
    layer = bnb.nn.Linear4bit(192, 96, bias=False, quant_type="nf4", compress_statistics=nested)
    weight = torch.randn(96, 192)
    layer.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type="nf4", compress_statistics=nested
    )
    layer = layer.to("cpu").eval()
    before = dense_weight(layer).clone()
    out = layer(torch.eye(192))  # each input alone: columns of the matrix, exact in bfloat16
    after = dense_weight(layer)
    assert after.shape == before.shape == (96, 192)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    # The kernel's products are rounded to bfloat16; half a step of 4 bits is 30 times it.
    torch.testing.assert_close(out.t(), after, rtol=2**-7, atol=0)


def test_delta_after_an_ordinary_forward(engine):
    """The forward may round the scales of the weights: delta reads those before it, too."""
    before = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")
    with torch.no_grad():
        engine.model(torch.tensor([before.prompt_tokens[0]]))
    after = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")
    np.testing.assert_array_equal(after.logprob_shift, before.logprob_shift)


def test_delta_is_the_sweep_of_the_dequantized_model(engine, plain):
    with torch.no_grad():
        engine.model(torch.tensor([[1, 2, 3]]))
    dense = copy.deepcopy(plain.model)
    for name, module in engine.model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            dense.get_submodule(name).weight.data = dense_weight(module).clone()
    asked = PROMPTS, TARGETS, NEURONS, SHIFTS
    found = engine.sweep(*asked, method="delta")
    with exact_float64(dense.double()) as exact:
        truth = Engine(exact, plain.tokenizer).sweep(*asked, method="full")
    assert_close(
        found.logprob_shift,
        truth.logprob_shift,
        budget=FLOAT32,
        relative_to=np.abs(truth.logprob_shift).max(),
    )


@pytest.mark.filterwarnings("ignore:bitsandbytes..gemv_4bit")
def test_layers_that_a_forward_has_repacked_have_no_backward(engine):
    with torch.no_grad():
        engine.model(torch.tensor([[1, 2, 3]]))
    assert np.isfinite(engine.gradients(PROMPTS, TARGETS, method="delta").cg).all()
    with pytest.raises(NotImplementedError, match=r"gradient of 0.*[Uu]se method='delta'"):
        engine.gradients(PROMPTS, TARGETS, method="full")
