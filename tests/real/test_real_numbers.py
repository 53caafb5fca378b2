"""The methods behind the published numbers, on the real model, by plain float64 hooks."""

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64
from neurgrad import attribution

ASKED = (["The capital of France is"], ["Paris"])
SHIFTS = np.array([-2.0, -1.0, 1.0, 2.0])
GRID = np.delete(np.linspace(-2, 2, 101), 50)  # the paper's
STEPS = 5  # of IG; its formula is the same for 20
LAYERS = (3, 28)


@pytest.fixture(scope="module")
def neurons(smollm2):
    """The 5 of largest |NeurGrad| and 5 others."""
    top = smollm2.gradients(*ASKED).top(5)[0][0]
    rng = np.random.default_rng(0)
    others = smollm2.neurons[rng.choice(len(smollm2.neurons), 5, replace=False)]
    return np.concatenate([top, others])


class Truth:
    """Plain forwards of a model in float64."""

    def __init__(self, model, tokenizer):
        self.model = model
        self.ids = torch.tensor([tokenizer(ASKED[0][0])["input_ids"]])
        self.target = tokenizer(" " + ASKED[1][0])["input_ids"][-1]

    @contextmanager
    def changing(self, layer, change):
        """Replace the last token's up projection, [rows, I], by what ``change`` makes of it."""

        def hook(module, args, out):
            return torch.cat([out[:, :-1], change(out[:, -1])[:, None]], 1)

        handle = self.model.model.layers[layer].mlp.up_proj.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def logprob(self, rows=1):
        logits = self.model(self.ids.expand(rows, -1)).logits[:, -1]
        return logits.log_softmax(-1)[:, self.target]

    @torch.no_grad()
    def shifted(self, neurons):
        """Shifts of log p [N, J] and NEG [N] along the magnitude axis."""
        base = self.logprob()
        found = []
        for layer, neuron in neurons:

            def away(up, neuron=neuron):
                up = up.clone()
                up[:, neuron] += torch.sign(up[:, neuron]) * torch.tensor(SHIFTS)
                return up

            with self.changing(layer, away):
                found.append((self.logprob(len(SHIFTS)) - base).numpy())
        shift = np.stack(found)
        dp = np.exp(base.numpy()) * np.expm1(shift)
        return shift, dp @ SHIFTS / (SHIFTS @ SHIFTS)


@pytest.fixture(scope="module")
def truth(smollm2):
    with exact_float64(copy.deepcopy(smollm2.model).double()) as model:
        yield Truth(model, smollm2.tokenizer)


@pytest.fixture(scope="module")
def measured(truth, neurons):
    return truth.shifted(neurons)


def test_neg_of_ten_neurons(smollm2, neurons, measured):
    shift, neg = measured
    grid = smollm2.sweep(*ASKED, neurons, SHIFTS)
    # Four digits of their own; and where what a neuron writes nearly cancels in the answer, the
    # states that it is added to have float32's rounding, 1e-6 of what it could have done.
    allowed = 1e-4 * np.abs(neg) + 5e-6 * np.abs(neg).max()
    assert_close(grid.neg()[0], neg, budget=allowed)
    spectral = smollm2.sweep(*ASKED, neurons, GRID, resolution="spectral")
    at = [np.argmin(np.abs(GRID - one)) for one in SHIFTS]
    np.testing.assert_allclose(GRID[at], SHIFTS)
    # What a curve states of itself, and float32's own part of the largest shift.
    allowed = spectral.error[0][:, None] + 1e-5 * np.abs(shift).max()
    assert_close(spectral.logprob_shift[0][:, at], shift, budget=allowed)


def test_bfloat16_products_in_the_difference_form(smollm2, neurons, measured):
    half = Engine(smollm2.model, smollm2.tokenizer, gemm_dtype=torch.bfloat16)
    neg = measured[1]
    found = half.sweep(*ASKED, neurons, SHIFTS, method="delta").neg()[0]
    # 2^-9 a product, thirty layers of them: far below a percent of the strongest.
    assert_close(found, neg, budget=1e-2, relative_to=np.abs(neg).max())


def test_bfloat16_forwards_lose_what_its_difference_form_keeps(smollm2, neurons):
    model = copy.deepcopy(smollm2.model).to(torch.bfloat16)
    weak = neurons[5:]
    with exact_float64(copy.deepcopy(model).double()) as exact:
        neg = Truth(exact, smollm2.tokenizer).shifted(weak)[1]
    engine = Engine(model, smollm2.tokenizer)
    lost = {}
    for method in ("full", "delta"):
        found = engine.sweep(*ASKED, weak, SHIFTS, method=method, check=False).neg()[0]
        lost[method] = np.abs(found - neg).max() / np.abs(neg).max()
    assert lost["delta"] < 0.05
    assert lost["full"] > 4 * lost["delta"]


def test_gradients(smollm2, truth):
    probes = []

    def probe(up):
        probes.append(torch.zeros_like(up, requires_grad=True))
        return up + probes[-1]

    def through(layer):
        if layer == smollm2.n_layers:
            return torch.autograd.grad(truth.logprob().exp(), probes)
        with truth.changing(layer, probe):
            return through(layer + 1)

    expected = torch.cat(through(0)).numpy()[None]
    found = attribution.cg(smollm2, *ASKED)
    assert_close(found, expected, budget=1e-4, relative_to=np.abs(expected).max())


def test_integrated_gradients(smollm2, truth):
    found = attribution.integrated_gradients(smollm2, *ASKED, steps=STEPS)
    for layer in LAYERS:
        leaves = []

        def scaled(up, leaves=leaves):
            leaves.append(up[:1].detach())
            leaves.append((torch.linspace(0, 1, STEPS)[:, None] * up).detach().requires_grad_())
            return leaves[-1]

        with truth.changing(layer, scaled):
            p = truth.logprob(STEPS).exp().sum()
        own, path = leaves
        expected = (own * torch.autograd.grad(p, path)[0].mean(0)).numpy()
        assert_close(found[:, layer], expected, budget=1e-4, relative_to=np.abs(expected).max())


@torch.no_grad()
def test_lpi(smollm2, truth):
    """Of the first layers alone: LPI reads the whole head for every neuron there is."""
    shallow = copy.deepcopy(smollm2.model)
    shallow.model.layers = shallow.model.layers[:2]
    shallow.config.num_hidden_layers = 2
    found = attribution.lpi(Engine(shallow, smollm2.tokenizer), *ASKED)[0]
    seen = {}

    def keep(name):
        return lambda module, args: seen.update({name: args[0][0, -1]})

    with exact_float64(shallow.double()) as exact:
        model = exact.model
        modules = {"final": model.norm}
        for i, layer in enumerate(model.layers):
            modules["stream", i] = layer.post_attention_layernorm
            modules["post", i] = layer.mlp.down_proj
        for name, module in modules.items():
            module.register_forward_pre_hook(keep(name))
        exact(truth.ids)
        size = (seen["final"].square().mean() + model.norm.variance_epsilon).sqrt()

        def logprob(state):  # as the model reads its final state, with that one's norm
            logits = exact.lm_head(state / size * model.norm.weight)
            return logits.log_softmax(-1)[truth.target]

        for i, layer in enumerate(model.layers):
            some = torch.arange(i, smollm2.n_neurons, 300)
            own = seen["post", i][some, None] * layer.mlp.down_proj.weight[:, some].T
            stream = seen["stream", i]
            expected = torch.stack([logprob(stream + one) - logprob(stream) for one in own]).numpy()
            assert_close(found[i, some], expected, budget=1e-4, relative_to=np.abs(expected).max())
