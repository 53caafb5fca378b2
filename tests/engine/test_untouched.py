"""The model a user passes in comes back as it was: after success, an error and Ctrl-C."""

import copy

import numpy as np
import pytest
import torch
from small_models import build
from torch.overrides import TorchFunctionMode

from negkernel import Engine, Intervention

METHODS = ("delta", "suffix", "full")
CALLS = ("sweep", "intervene", "gradients")
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
)


def snapshot(model):
    """Everything that a caller could notice, by name."""
    state = {
        "config": copy.deepcopy(model.config.to_dict()),
        "attention": model.config._attn_implementation,
        "grad mode": torch.is_grad_enabled(),
        "random state": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
    }
    for name, module in model.named_modules():
        state[name, "training"] = module.training
        state[name, "hooks"] = [dict(getattr(module, kind)) for kind in HOOKS]
        state[name, "forward"] = vars(module).get("forward")
        state[name, "attributes"] = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, int | float | str | bool | type(None))
        }
        state[name, "names"] = sorted(vars(module))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tensors.items():
        state[name] = {
            "identity": id(tensor),
            "storage": tensor.data_ptr(),
            "dtype": tensor.dtype,
            "requires_grad": tensor.requires_grad,
            "grad": None if tensor.grad is None else id(tensor.grad),
            "bytes": tensor.detach().numpy().tobytes(),
        }
    # Frequencies that dynamic RoPE keeps outside its buffers.
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                state[name, key] = id(value), value.numpy().tobytes()
    return state


def assert_same(after, before):
    assert after.keys() == before.keys()
    changed = [name for name in before if after[name] != before[name]]
    assert not changed, changed


def unusual_model(name):
    """A model in training mode but for one layer, with dropout, frozen parts and a gradient."""
    model = build(name, torch.float32, attention_dropout=0.5)
    model.train()
    model.model.layers[1].eval()
    model.model.embed_tokens.weight.requires_grad_(False)
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.grad = torch.ones_like(weight)
    return model


def call(engine, name, method, prompts, targets, neurons, shifts):
    if name == "sweep":
        return engine.sweep(prompts, targets, neurons, shifts, method=method)
    if name == "intervene":
        one = Intervention(neurons, np.ones(len(neurons)))
        return engine.intervene(prompts, targets, [one, one], method=method)
    method = "auto" if method == "suffix" else method  # gradients have no suffix form
    return engine.gradients(prompts, targets, method=method)


class Stop(TorchFunctionMode):
    """Raise ``error`` at the n-th tensor operation; without one, count them."""

    def __init__(self, at=None, error=None):
        super().__init__()
        self.at, self.error, self.seen = at, error, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen += 1
        if self.seen == self.at:
            raise self.error
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["llama-dynamic", "llama-longrope", "qwen3-window"])
def test_after_success(family, method, name, prompts, targets, neurons, shifts):
    """Prompts on both sides of the length at which RoPE changes its frequencies."""
    model = unusual_model(family)
    before = snapshot(model)
    call(Engine(model), name, method, prompts, targets, neurons, shifts)
    assert_same(snapshot(model), before)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("method", METHODS)
def test_after_an_interruption(method, name, error, prompts, targets, neurons, shifts):
    """Wherever it strikes: the operation at which the call stops moves through all of it."""
    model = unusual_model("llama-dynamic")
    engine = Engine(model)
    arguments = engine, name, method, prompts, targets, neurons, shifts
    call(*arguments)  # once more work than later: the method is held against the model
    before = snapshot(model)
    with Stop() as counter:
        expected = call(*arguments)
    for part in (0.03, 0.2, 0.5, 0.8, 0.97):
        with pytest.raises(type(error)), Stop(int(counter.seen * part), error):
            call(*arguments)
        assert_same(snapshot(model), before)
    again = call(*arguments)
    field = "cg" if name == "gradients" else "logprob_shift"
    np.testing.assert_array_equal(getattr(again, field), getattr(expected, field))


@pytest.mark.parametrize("method", METHODS)
def test_training_mode_is_not_used(method, prompts, targets, neurons, shifts):
    """Dropout must not reach the numbers of a model that is being trained."""
    training = unusual_model("qwen2")
    resting = build("qwen2", torch.float32)
    for name, field in (("sweep", "logprob_shift"), ("gradients", "cg")):
        a = call(Engine(training), name, method, prompts, targets, neurons, shifts)
        b = call(Engine(resting), name, method, prompts, targets, neurons, shifts)
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


@pytest.mark.parametrize("method", METHODS)
def test_weights_edited_in_place_are_seen(method, prompts, targets, neurons, shifts):
    """An engine keeps no copy of the weights: fine-tuning between two calls is fine."""
    model = build("llama", torch.float32)
    engine = Engine(model)
    engine.sweep(prompts, targets, neurons, shifts, method=method)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    edited = engine.sweep(prompts, targets, neurons, shifts, method=method)
    fresh = Engine(model).sweep(prompts, targets, neurons, shifts, method=method)
    np.testing.assert_array_equal(edited.logprob_shift, fresh.logprob_shift)


@pytest.mark.parametrize("method", METHODS)
def test_caller_in_inference_or_no_grad_mode(method, prompts, targets, neurons, shifts):
    engine = Engine(build("llama", torch.float32))
    for name, field in (("sweep", "logprob_shift"), ("gradients", "cg")):
        expected = call(engine, name, method, prompts, targets, neurons, shifts)
        with torch.no_grad():
            got = call(engine, name, method, prompts, targets, neurons, shifts)
        np.testing.assert_array_equal(getattr(got, field), getattr(expected, field))


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_not_written_to(method, prompts, targets, neurons, shifts):
    engine = Engine(build("llama"))
    given = copy.deepcopy((prompts, targets, neurons, shifts))
    sweep = engine.sweep(*given, method=method)
    for now, then in zip(given, (prompts, targets, neurons, shifts), strict=True):
        np.testing.assert_equal(now, then)
    given[2][:] = 0
    given[3][:] = 9
    np.testing.assert_array_equal(sweep.neurons, neurons, "the result follows a caller's array")
    np.testing.assert_array_equal(sweep.shifts, shifts)
