"""Models that run more than their weights say: right by another method, or refused."""

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from plain_forwards import NEURONS, PROMPTS, SHIFTS, TARGETS, assert_right, llama
from torch.nn.utils import parametrizations
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from negkernel import Engine, Intervention


def halved(module):
    """Put a forward on the instance that gives half of the module's own."""
    own = module.forward
    module.forward = lambda *args, **kwargs: 0.5 * own(*args, **kwargs)


def quantized_activations(module):
    """Round a projection's input to 5 bits, as a compressed checkpoint does."""
    own = module.forward

    def forward(x):
        step = x.abs().amax(-1, keepdim=True) / 15
        return own((x / step).round() * step)

    module.forward = forward


class Halve(ModelHook):
    def post_forward(self, module, output):
        return 0.5 * output


class Steered(torch.nn.Module):
    """A layer with a vector added behind it, as steering code wraps it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, *args, **kwargs):
        return self.layer(*args, **kwargs) + 0.5


class Suppressing(LlamaForCausalLM):
    """A logits processor inside the model."""

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.logits = out.logits.clone()
        out.logits[..., 30:60] -= 4.0
        return out


def subclassed(module):
    class Half(type(module)):
        def forward(self, x):
            return 0.5 * super().forward(x)

    module.__class__ = Half


def wrapped(model):
    model.model.layers[1] = Steered(model.model.layers[1])


def shifted_positions(module, args, kwargs):
    return args, {**kwargs, "position_embeddings": tuple(-x for x in kwargs["position_embeddings"])}


KINDS = {
    "mlp.forward": lambda m: halved(m.model.layers[1].mlp),
    "attention.forward": lambda m: halved(m.model.layers[0].self_attn.o_proj),
    "layer.forward": lambda m: halved(m.model.layers[2].mlp.down_proj),
    "norm.forward": lambda m: halved(m.model.norm),
    "lm_head.forward": lambda m: halved(m.lm_head),
    "embedding.forward": lambda m: halved(m.model.embed_tokens),
    "fake quantization": lambda m: quantized_activations(m.model.layers[1].mlp.down_proj),
    "accelerate's hook": lambda m: add_hook_to_module(m.model.layers[1].mlp, Halve()),
    "subclassed MLP": lambda m: subclassed(m.model.layers[1].mlp),
    "subclassed norm": lambda m: subclassed(m.model.layers[1].input_layernorm),
    "subclassed model": lambda m: setattr(m, "__class__", Suppressing),
    "wrapped layer": wrapped,
    "hook with keywords": lambda m: m.model.layers[1].self_attn.register_forward_pre_hook(
        shifted_positions, with_kwargs=True
    ),
    "weight norm": lambda m: parametrizations.weight_norm(m.model.layers[1].mlp.down_proj),
    "spectral norm": lambda m: parametrizations.spectral_norm(m.model.layers[1].mlp.up_proj),
    "orthogonal": lambda m: parametrizations.orthogonal(m.model.layers[1].self_attn.q_proj),
}


# Still one matrix, or run as it stands: delta takes what it is now.
LINEAR = (
    "attention.forward",
    "layer.forward",
    "lm_head.forward",
    "embedding.forward",
    "weight norm",
    "spectral norm",
    "orthogonal",
)


def llama_with(kind):
    model = llama()
    KINDS[kind](model)
    return model


def layer_of(model, layer):
    block = model.model.layers[layer]
    return getattr(block, "layer", block).mlp.up_proj


@pytest.mark.parametrize("kind", KINDS)
def test_what_weights_do_not_tell(kind):
    model = llama_with(kind)
    if kind == "spectral norm":
        model.train()  # a power iteration a forward, unless the model rests
        model.eval()
    engine = Engine(model)
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert (sweep.method == "delta") == (kind in LINEAR)
    assert_right(sweep, model, layer_of)
    if kind in LINEAR:
        return
    with pytest.raises(NotImplementedError, match=r"method='delta'.*(suffix|full)"):
        engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"fake quantization"}))
def test_gradients_of_what_weights_do_not_tell(kind):
    engine = Engine(llama_with(kind))
    found = engine.gradients(PROMPTS, TARGETS, log=True)
    step = 1e-2  # float32: a smaller one measures rounding
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, [-step, step], axis="signed", method="full")
    slopes = (sweep.logprob_shift[..., 1] - sweep.logprob_shift[..., 0]) / (2 * step)
    gradient = np.stack([found.cg[:, layer, index] for layer, index in NEURONS], axis=-1)
    budget = 3e-2 * np.abs(slopes).max()
    np.testing.assert_allclose(gradient, slopes, rtol=0, atol=budget)
    if kind not in LINEAR:
        with pytest.raises(NotImplementedError, match=r"method='delta'.*'full'"):
            engine.gradients(PROMPTS, TARGETS, method="delta")


def test_gradients_that_are_no_slopes():
    """Rounding has a gradient of 0, and a graph may be cut: shifts along the gradient tell."""
    with pytest.raises(NotImplementedError, match=r"shifts along its gradient"):
        Engine(llama_with("fake quantization")).gradients(PROMPTS, TARGETS)
    model = llama()
    own = model.model.layers[1].forward
    model.model.layers[1].forward = lambda h, *args, **more: own(h.detach(), *args, **more)
    with pytest.raises(NotImplementedError, match=r"layer 0 a gradient of 0, but shifts"):
        Engine(model).gradients(PROMPTS, TARGETS)


def test_a_forward_put_into_a_class(monkeypatch):
    own = LlamaRMSNorm.forward
    monkeypatch.setattr(LlamaRMSNorm, "forward", lambda self, x: 0.5 * own(self, x))
    model = llama()
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method in ("generic", "suffix")
    assert_right(sweep, model)


def test_a_function_put_into_a_module_of_transformers(monkeypatch):
    """Nothing of the model tells: only its numbers do."""
    from transformers.models.llama import modeling_llama

    own = modeling_llama.apply_rotary_pos_emb
    monkeypatch.setattr(
        modeling_llama, "apply_rotary_pos_emb", lambda q, k, cos, sin, **more: own(q, k, cos, -sin)
    )
    model = llama()
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert_right(sweep, model)
    with pytest.raises(NotImplementedError, match=r"differ from the model's own"):
        Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="delta")


def test_a_hook_on_every_module_of_torch():
    model = llama()

    def double(module, args, output):
        return 2 * output if isinstance(module, LlamaRMSNorm) else None

    handle = torch.nn.modules.module.register_module_forward_hook(double)
    try:
        sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
        assert sweep.method != "delta"
        assert_right(sweep, model)
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", ["mlp.forward", "subclassed norm", "hook with keywords"])
def test_patched_between_two_calls(kind):
    """The verdict is one on a state of the model, and a patch changes the state."""
    model = llama()
    engine = Engine(model)
    assert engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS).method == "delta"
    KINDS[kind](model)
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method in ("generic", "suffix")
    assert_right(sweep, model)


@pytest.mark.parametrize("kind", ["mlp.forward", "wrapped layer"])
def test_interventions(kind):
    engine = Engine(llama_with(kind))
    several = [Intervention(NEURONS, [2.0, -1.0, 3.0])]
    auto, full = (
        engine.intervene(PROMPTS, TARGETS, several, method=method) for method in ("auto", "full")
    )
    assert auto.method in ("generic", "suffix")
    size = np.abs(full.logprob_shift).max()
    np.testing.assert_allclose(auto.logprob_shift, full.logprob_shift, rtol=0, atol=1e-4 * size)


def test_settings_and_weights_changed_after_the_engine():
    """What a family reads from config and modules is read at every call."""
    model = llama()
    engine = Engine(model)
    engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    with torch.no_grad():
        model.model.rotary_emb.inv_freq.mul_(3.0)
        model.model.layers[0].mlp.up_proj.weight.mul_(0.5)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().flip(0).clone())
    model.model.norm.variance_epsilon = 0.5
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert_right(sweep, model)
