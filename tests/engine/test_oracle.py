"""The oracle itself: ``method="full"`` against hooks written out here, module by module."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close

# What the paper says each axis does to an activation.
MOVED = {
    "magnitude": lambda a, c: a + c * torch.sign(a),
    "signed": lambda a, c: a + c,
    "scale": lambda a, c: a * (1 + c),
    "value": lambda a, c: torch.full_like(a, c),
}


@contextmanager
def edited(model, site, layer, neuron, change):
    """Replace the activation ``a`` of one neuron at the last token by ``change(a)``."""
    mlp = model.model.layers[layer].mlp

    def edit(x):
        x = x.clone()
        x[:, -1, neuron] = change(x[:, -1, neuron])
        return x

    if site == "post":
        handle = mlp.down_proj.register_forward_pre_hook(lambda module, args: (edit(args[0]),))
    else:
        module = {"up": mlp.up_proj, "gate": mlp.gate_proj}[site]
        handle = module.register_forward_hook(lambda module, args, output: edit(output))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def logprob(model, prompt):
    return torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1], -1).numpy()


@pytest.mark.parametrize("axis", MOVED)
@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_sweep_is_one_edited_forward_per_row(site, axis, prompts, targets, neurons, shifts):
    model = build("llama-biases")
    engine = Engine(model)
    sweep = engine.sweep(prompts, targets, neurons, shifts, site=site, axis=axis, method="full")
    assert sweep.site == site
    assert sweep.axis == axis
    assert sweep.rows == len(prompts) * len(neurons) * len(shifts)
    for p, prompt in enumerate(prompts):
        base = logprob(model, prompt)[targets[p]]
        assert_close(sweep.base_logprob[p], base, budget=1e-12)
        for n, (layer, neuron) in enumerate(neurons):
            for j, shift in enumerate(shifts):
                with edited(model, site, layer, neuron, lambda a, c=shift: MOVED[axis](a, c)):
                    change = logprob(model, prompt)[targets[p]] - base
                assert_close(sweep.logprob_shift[p, :, n, j], change, budget=1e-12)


@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_activation_is_the_modules_own(site, prompts, targets, neurons, shifts):
    model = build("qwen2")
    sweep = Engine(model).sweep(prompts, targets, neurons, shifts, site=site, method="full")
    gradients = Engine(model).gradients(prompts, targets, site=site, method="full")
    seen = []
    for p, prompt in enumerate(prompts):
        for n, (layer, neuron) in enumerate(neurons):
            with edited(model, site, layer, neuron, lambda a: seen.append(a.item()) or a):
                logprob(model, prompt)
            assert_close(sweep.activation[p, n], seen[-1], budget=1e-12)
            assert_close(gradients.activation[p, layer, neuron], seen[-1], budget=1e-12)


def test_paper_site_is_up(prompts, targets, neurons, shifts):
    engine = Engine(build("llama"))
    assert engine.site == "up"
    assert (engine.n_layers, engine.n_neurons) == (3, 40)
    paper = engine.sweep(prompts, targets, neurons, shifts, method="full")
    up = engine.sweep(prompts, targets, neurons, shifts, site="up", method="full")
    assert paper.site == "up"
    np.testing.assert_array_equal(paper.logprob_shift, up.logprob_shift)


def test_later_shifts_see_earlier_ones(prompts, targets):
    """Each neuron of an intervention moves from where the shifts below it left the activation."""
    model = build("llama")
    shift = Intervention([[2, 4], [0, 1], [1, 7]], [1.5, -0.5, 2.0], axis="scale", site="gate")
    result = Engine(model).intervene(prompts, targets, [shift], method="full")
    for p, prompt in enumerate(prompts):
        base = logprob(model, prompt)[targets[p]]
        with (
            edited(model, "gate", 0, 1, lambda a: a * 0.5),
            edited(model, "gate", 1, 7, lambda a: a * 3.0),
            edited(model, "gate", 2, 4, lambda a: a * 2.5),
        ):
            change = logprob(model, prompt)[targets[p]] - base
        assert_close(result.logprob_shift[p, :, 0], change, budget=1e-12)
