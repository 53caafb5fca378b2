"""Matrices in formats of other libraries: read by delta, unless the input is rounded as well."""

import functools

import numpy as np
import peft
import pytest
import torch
from plain_forwards import NEURONS, PROMPTS, SHIFTS, TARGETS, assert_right, llama, up
from torch import nn

from negkernel import Engine

LINEARS = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def rounded(x, bits=8, axis=-1):
    """Symmetric integers of so many bits, as floating point."""
    scale = x.abs().amax(axis, keepdim=True).clamp_min(1e-12) / (2 ** (bits - 1) - 1)
    return torch.round(x / scale) * scale


class Grouped(nn.Module):
    """Shaped like the layers of GPTQModel: integers, scales, no floating parameter."""

    def __init__(self, linear):
        super().__init__()
        self.out_features, self.in_features = linear.weight.shape
        scale = linear.weight.detach().abs().amax(1) / 7
        self.register_buffer("qweight", torch.round(linear.weight.t() / scale).to(torch.int32))
        self.register_buffer("scales", scale)
        self.bias = None

    def dequantize_weight(self):
        return self.qweight * self.scales

    def forward(self, x):
        return x @ self.dequantize_weight()


class Silent(Grouped):
    """Says nothing of its matrix."""

    dequantize_weight = None

    def forward(self, x):
        return x @ (self.qweight * self.scales)


class Misleading(Grouped):
    """Says what it does not multiply by."""

    def dequantize_weight(self):
        return 2.0 * self.qweight * self.scales

    def forward(self, x):
        return x @ (self.qweight * self.scales)


class RoundsInput(Grouped):
    def forward(self, x):
        return rounded(x) @ (self.qweight * self.scales)


class RoundsBatch(Grouped):
    """With one scale for all that it is given, which a single row does not show."""

    def forward(self, x):
        return rounded(x.flatten()).view_as(x) @ (self.qweight * self.scales)


def exchanged(model, make):
    for name, module in list(model.named_modules()):
        if name.rpartition(".")[2] in LINEARS:
            model.set_submodule(name, make(module))
    return model


def fake_quantized(activations):
    """As compressed-tensors does: a forward of the module's own rounds weights, or inputs too."""

    def make(linear):
        @functools.wraps(linear.forward)  # and so seems to be torch's
        def forward(x):
            x = rounded(x, 4) if activations else x
            return nn.functional.linear(x, rounded(linear.weight, 4), linear.bias)

        linear.forward = forward
        return linear

    return lambda model: exchanged(model, make)


def torchao(name):
    def make(model):
        quantization = pytest.importorskip("torchao.quantization")
        quantization.quantize_(model, getattr(quantization, name)())
        return model

    return make


def old_weight_norm(model):
    for layer in model.model.layers:
        nn.utils.weight_norm(layer.mlp.down_proj)
        layer.mlp.down_proj.weight_g.data *= 1.5  # shows in the weight after a forward
    return model


ONE_MATRIX = {
    "GPTQModel": lambda m: exchanged(m, Grouped),
    "silent": lambda m: exchanged(m, Silent),
    "misleading": lambda m: exchanged(m, Misleading),
    "fake quantized weights": fake_quantized(False),
    "weight norm": old_weight_norm,
    "torchao int8": torchao("Int8WeightOnlyConfig"),
    "torchao intx": torchao("IntxWeightOnlyConfig"),
    "torchao float8": torchao("Float8WeightOnlyConfig"),
}
SEVERAL = {
    "rounded inputs": lambda m: exchanged(m, RoundsInput),
    "a rounded batch": lambda m: exchanged(m, RoundsBatch),
    "fake quantized inputs": fake_quantized(True),
    "torchao int8 inputs": torchao("Int8DynamicActivationInt8WeightConfig"),
}


def wide_llama():
    return llama(hidden_size=64, intermediate_size=128)


@pytest.mark.parametrize("kind", ONE_MATRIX)
def test_one_matrix_is_read(kind):
    model = ONE_MATRIX[kind](wide_llama())
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method == "delta"
    assert_right(sweep, model)
    gradients = Engine(model).gradients(PROMPTS, TARGETS, method="delta")
    assert np.isfinite(gradients.cg).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", SEVERAL)
def test_rounded_inputs_are_no_matrix(kind, caplog):
    model = SEVERAL[kind](wide_llama())
    caplog.set_level("INFO", "negkernel")
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method in ("generic", "suffix", "full")
    assert_right(sweep, model)
    assert "does not multiply by one matrix" in caplog.text
    with pytest.raises(NotImplementedError, match=r"layers.*_proj.*activation quantization"):
        Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")


ADAPTERS = {
    "LoRA": peft.LoraConfig(r=4, target_modules=list(LINEARS), lora_dropout=0.5),
    "scaled": peft.LoraConfig(r=4, target_modules=["down_proj"], use_rslora=True, lora_alpha=7),
    "DoRA": peft.LoraConfig(r=4, target_modules=["down_proj"], use_dora=True),
    "bias": peft.LoraConfig(r=4, target_modules=["up_proj"], lora_bias=True),
    "embedding": peft.LoraConfig(r=4, target_modules=["embed_tokens"]),
    "(IA)3": peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters_that_are_not_merged(kind):
    torch.manual_seed(3)
    wrapped = peft.get_peft_model(llama(), ADAPTERS[kind])
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    wrapped.train()
    sweep = Engine(wrapped).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method == "delta"
    assert wrapped.training
    wrapped.eval()
    assert_right(sweep, wrapped, lambda m, layer: up(m.get_base_model(), layer))
    if kind == "LoRA":
        with wrapped.disable_adapter():
            off = Engine(wrapped).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
            assert_right(off, wrapped, lambda m, layer: up(m.get_base_model(), layer))
        assert np.abs(off.logprob_shift - sweep.logprob_shift).max() > 1e-2
        wrapped.merge_adapter()
        merged = Engine(wrapped).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
        assert merged.method == "delta"
        np.testing.assert_allclose(merged.logprob_shift, sweep.logprob_shift, rtol=0, atol=1e-4)
