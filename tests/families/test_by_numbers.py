"""Feed-forward parts that names do not tell: found by what a forward computes, or refused."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.coverage import MaskTokenizer, verdict
from bench.opponents.plain import Plain
from bench.tiny import build, randomized
from bench.tiny_fixed import FIXED
from negkernel import Engine

IDS, TARGET, SHIFTS = [11, 45, 23, 67, 90, 31], 17, [-2.0, 0.5, 3.0]

# One of each kind; the whole list is `python -m bench coverage`.
SERVED = {
    ("gpt_oss", "causal"): "experts with biases, transposed, gates and ups in turns",
    ("nemotron_h", "causal"): "layers without a feed-forward part, ungated experts",
    ("deepseek_v3", "causal"): "layers of unequal width",
    ("longcat_flash", "causal"): "two feed-forward parts in a layer",
    ("lfm2", "causal"): "w1, w3, w2",
    ("moshi", "causal"): "gate and up in one projection that is called fc1",
    ("git", "causal"): "a vision tower of as many layers",
    ("ctrl", "causal"): "parts without names",
    ("xlnet", "causal"): "the sequence outermost",
    ("rwkv", "causal"): "no attention",
    ("zamba", "causal"): "a block that several layers share",
    ("albert", "masked"): "one layer for all",
    ("xlm", "masked"): "one class for both tasks",
    ("squeezebert", "masked"): "convolutions of width 1",
}
REFUSED = {
    ("mamba", "causal"): "no feed-forward neurons",
    ("jetmoe", "causal"): "'mlp' in layer 0",
    ("cpmant", "causal"): "'ffn' in layer 0",
    ("funnel", "masked"): "shows 6 feed-forward parts for 12 layers",
}


@pytest.mark.parametrize(("model_type", "task"), SERVED)
def test_served(model_type, task):
    found = verdict(model_type, task, "full")
    assert found.outcome == "right", found


@pytest.mark.parametrize(("model_type", "task"), REFUSED)
def test_refused_by_name(model_type, task):
    found = verdict(model_type, task, "full")
    assert found.outcome == "refused", found
    assert REFUSED[model_type, task] in found.reason


class Odd(nn.Module):
    """A gated MLP under names that nobody uses, or with names that say something else."""

    def __init__(self, names, hidden=32, width=48):
        super().__init__()
        self.names = names
        gate, up, down = names
        setattr(self, gate, nn.Linear(hidden, width, bias=False))
        setattr(self, up, nn.Linear(hidden, width))
        setattr(self, down, nn.Linear(width, hidden))

    def forward(self, x):
        gate, up, down = (getattr(self, name) for name in self.names)
        return down(self.hidden(gate(x), up(x)))

    def hidden(self, gate, up):
        return torch.nn.functional.silu(gate) * up


class TurnedGate(Odd):
    def hidden(self, gate, up):
        return gate.sigmoid() * gate * up.flip(-1)


class MixedTokens(Odd):
    def hidden(self, gate, up):
        return torch.nn.functional.silu(gate.cumsum(1)) * up


class Softmax(Odd):
    def hidden(self, gate, up):
        return gate.softmax(-1) * up


def with_mlp(make, layers=range(4)):
    model = build("llama", "causal", {})
    for index in layers:
        model.model.layers[index].mlp = make()
    return randomized(model)


def test_a_layout_of_ones_own_is_found_by_what_it_computes():
    model = with_mlp(lambda: Odd(("wide", "left", "back")))
    engine = Engine(model)
    assert (engine.site, engine.widths.tolist()) == ("up", [48] * 4)
    right = up_shifted(model, 2, 7)
    for method in ("suffix", "full"):
        found = engine.sweep([IDS], [TARGET], [(2, 7)], SHIFTS, method=method).logprob_shift[0, 0]
        assert np.abs(found - right).max() < 2e-5 * np.abs(right).max()


def up_shifted(model, layer, index):
    """Changes of log p by forwards in which the up projection's output is moved by hand."""
    module = model.model.layers[layer].mlp.left

    def logprob(amount):
        def hook(_, args, out):
            out[0, -1, index] += amount * torch.sign(out[0, -1, index])
            return out

        handle = module.register_forward_hook(hook)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([IDS])).logits[0, -1]
        handle.remove()
        return torch.log_softmax(logits.double(), -1)[TARGET].item()

    return np.array([logprob(amount) - logprob(0.0) for amount in SHIFTS])


@pytest.mark.parametrize("kind", [TurnedGate, MixedTokens, Softmax])
def test_what_is_no_feed_forward_part_is_refused(kind):
    model = with_mlp(lambda: kind(("wide", "left", "back")))
    with pytest.raises(NotImplementedError, match="'mlp' in layer 0"):
        Engine(model)


def test_one_layer_that_is_not_recognised_refuses_the_model():
    model = with_mlp(lambda: Softmax(("wide", "left", "back")), layers=[2])
    with pytest.raises(NotImplementedError, match="'mlp' in layer 2"):
        Engine(model)


def test_names_that_do_not_fit_the_sizes_are_not_believed():
    """fc1 may hold gates and ups: its outputs are then twice the inputs of fc2."""
    engine = Engine(build("moshi", "causal", FIXED["moshi"]))
    assert (engine.site, engine.n_neurons) == ("up", 24)


def test_modules_replaced_later_are_looked_at_anew():
    model = with_mlp(lambda: Odd(("wide", "left", "back")))
    engine = Engine(model)
    model.model.layers[1].mlp = randomized(Odd(("wide", "left", "back"), width=20))
    assert engine.widths.tolist() == [48, 20, 48, 48]


def test_each_use_of_a_shared_layer_has_neurons_of_its_own():
    model = build("albert", "masked", {})
    engine = Engine(model, MaskTokenizer())
    ids = [11, 45, 5, 67]
    found = engine.sweep([ids], [TARGET], [(layer, 3) for layer in range(4)], SHIFTS)
    plain = Plain(model, ids, 2)
    right = [plain.changes(plain.neurons()[layer], 3, SHIFTS, TARGET) for layer in range(4)]
    assert np.abs(found.logprob_shift[0] - right).max() < 2e-5 * np.abs(right).max()
    assert len({tuple(curve) for curve in found.logprob_shift[0].tolist()}) == 4


def test_gradients_are_the_slopes_of_shifts():
    for model_type, task in (("zamba", "causal"), ("albert", "masked")):
        model = build(model_type, task, FIXED.get(model_type, {})).double()
        engine = Engine(model, MaskTokenizer())
        ids = [11, 45, 5, 67]
        gradients = engine.gradients([ids], [TARGET], method="full")
        best, _ = gradients.top(4)
        sweep = engine.sweep([ids], [TARGET], best[0], [-1e-2, 1e-2], axis="signed", method="full")
        cg = gradients.cg[0][tuple(best[0].T)]
        # Zamba rounds to float32 inside: over 2e-2 that is 1e-5, and the curvature's share is less.
        assert np.abs(sweep.neg()[0] - cg).max() < 1e-3 * np.abs(cg).max(), model_type


def test_the_model_comes_back_as_it_was():
    model = build("ctrl", "causal", {}).train()
    Engine(model)
    assert model.training
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
