"""Attributions of the embedded model against slow, obvious versions on its own modules."""

import numpy as np
import pytest
import torch

from negkernel.testing.exact import exact_float64
from neurgrad import demo
from neurgrad.attribution import cg, integrated_gradients, lpi, neurgrad


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(2, random_state=2)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.fixture(scope="module")
def engine():
    engine = demo.load("causal")
    engine.model.double()
    return engine


def tokens(engine, prompts, answers):
    ids = [engine.tokenizer(prompt)["input_ids"] for prompt in prompts]
    asked = engine.gradients(prompts, answers)
    assert ids == asked.prompt_tokens
    return ids, asked.target_ids.tolist()


def module(layer, site):
    mlp = layer.mlp
    return {"up": mlp.up_proj, "gate": mlp.gate_proj, "post": mlp.down_proj}[site]


def with_neurons(layer, site, edit):
    """Hook that replaces the last token's neurons [I] by ``edit`` of them."""

    def changed(x):
        x = x.clone()
        x[:, -1] = edit(x[:, -1])
        return x

    if site == "post":
        return module(layer, site).register_forward_pre_hook(lambda _, args: (changed(args[0]),))
    return module(layer, site).register_forward_hook(lambda _, __, out: changed(out))


def slow_ig(model, ids, target, layer, site, steps):
    """Step after step, each with a graph over the whole prompt: [I]."""
    total = 0
    for alpha in np.linspace(0, 1, steps):
        seen = {}

        def scale(neurons, seen=seen, alpha=alpha):
            seen["activation"] = neurons.detach()
            seen["leaf"] = (neurons * alpha).detach().requires_grad_()
            return seen["leaf"]

        handle = with_neurons(model.model.layers[layer], site, scale)
        prob = model(torch.tensor([ids])).logits[0, -1].softmax(-1)[target]
        handle.remove()
        total = total + torch.autograd.grad(prob, seen["leaf"])[0]
    return (seen["activation"] * total / steps)[0].numpy()


@pytest.mark.parametrize("site", ["up", "gate", "post"])
def test_integrated_gradients_equal_step_by_step_ones(engine, facts, site):
    with exact_float64(engine.model) as model:
        found = integrated_gradients(engine, *facts, steps=5, site=site)
        ids, targets = tokens(engine, *facts)
        for p in range(2):
            for layer in range(engine.n_layers):
                slow = slow_ig(model, ids[p], targets[p], layer, site, 5)
                np.testing.assert_allclose(found[p, layer], slow, atol=1e-12)


def test_integrated_gradients_through_the_model_s_graph_are_the_same(engine, facts):
    with exact_float64(engine.model):
        delta = integrated_gradients(engine, *facts, steps=4, method="delta")
        full = integrated_gradients(engine, *facts, steps=4, method="full")
    np.testing.assert_allclose(delta, full, atol=1e-12)


def test_steps_in_portions_are_the_same(engine, facts, monkeypatch):
    whole = integrated_gradients(engine, *facts, steps=5)
    monkeypatch.setattr("negkernel.delta.budget.Budget.scales", lambda *_: 2)
    np.testing.assert_allclose(integrated_gradients(engine, *facts, steps=5), whole, atol=1e-15)


def test_one_step_is_the_gradient_at_the_baseline(engine, facts):
    """``linspace(0, 1, 1)`` is 0 alone, so only activations tell neurons of a layer apart."""
    zero = engine.path_gradients(*facts, [0.0])
    found = integrated_gradients(engine, *facts, steps=1)
    np.testing.assert_allclose(found, zero.activation * zero.cg)
    plain = engine.path_gradients(*facts, [1.0])
    np.testing.assert_allclose(plain.cg, engine.gradients(*facts).cg, atol=1e-14)


def test_a_neuron_s_own_path_is_what_its_ablation_loses(engine, facts):
    prompts, answers = [one[:1] for one in facts]
    found = integrated_gradients(engine, prompts, answers, path="neuron")
    nodes, weights = np.polynomial.legendre.leggauss(6)
    index = 7
    for layer in (0, 4):
        total = 0
        for alpha, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            seen = {}

            def scale(neurons, seen=seen, alpha=alpha):
                seen["leaf"] = neurons.detach().clone()
                seen["activation"] = neurons[0, index].item()
                seen["leaf"][0, index] *= alpha
                return seen["leaf"].requires_grad_()

            ids, targets = tokens(engine, prompts, answers)
            with with_neurons(engine.model.model.layers[layer], engine.site, scale):
                prob = engine.model(torch.tensor(ids)).logits[0, -1].softmax(-1)[targets[0]]
            total += weight * torch.autograd.grad(prob, seen["leaf"])[0][0, index].item()
        slow = seen["activation"] * total
        np.testing.assert_allclose(found[0, layer, index], slow, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("norm", ["frozen", "recomputed"])
def test_lpi_equals_a_softmax_for_each_neuron(engine, facts, norm):
    with exact_float64(engine.model) as model, torch.no_grad():
        found = lpi(engine, *facts, norm=norm)
        ids, targets = tokens(engine, *facts)
        for p in range(2):
            seen = {}
            handles = [model.model.norm.register_forward_pre_hook(_keep(seen, "final"))]
            for i, layer in enumerate(model.model.layers):
                middle, down = layer.post_attention_layernorm, layer.mlp.down_proj
                handles.append(middle.register_forward_pre_hook(_keep(seen, ("x", i))))
                handles.append(down.register_forward_pre_hook(_keep(seen, ("m", i))))
            model(torch.tensor([ids[p]]))
            for handle in handles:
                handle.remove()
            final = model.model.norm

            def logprob(x, own=seen["final"], final=final, target=targets[p]):
                read = own if norm == "frozen" else x
                scale = (read.square().mean(-1, keepdim=True) + final.variance_epsilon).rsqrt()
                logits = model.lm_head(x * scale * final.weight)
                return logits.log_softmax(-1)[..., target]

            for i, layer in enumerate(model.model.layers):
                x, m = seen["x", i], seen["m", i]
                slow = logprob(x + m[:, None] * layer.mlp.down_proj.weight.T) - logprob(x)
                np.testing.assert_allclose(found[p, i], slow, atol=1e-11)


def _keep(seen, name):
    def hook(_, args):
        seen[name] = args[0][0, -1]

    return hook


@pytest.mark.parametrize("gain", [30.0, 1000.0])
def test_lpi_where_the_series_and_the_sum_give_way(facts, gain):
    """Logits so large that exponents pass 1, and with the larger gain overflow float32."""
    engine = demo.load("causal")
    with torch.no_grad():
        engine.model.model.norm.weight *= gain
    found = lpi(engine, *facts)
    engine.model.double()
    exact = lpi(engine, *facts)
    assert np.abs(exact).max() > 1
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_gradients_and_their_axes(engine, facts):
    prompts, answers = facts
    gradients = engine.gradients(prompts, answers)
    np.testing.assert_array_equal(cg(engine, *facts), gradients.cg)
    np.testing.assert_array_equal(neurgrad(engine, *facts), gradients.neurgrad())
    np.testing.assert_array_equal(
        neurgrad(engine, *facts, threshold=0.5), gradients.neurgrad(threshold=0.5)
    )


@pytest.mark.parametrize("estimate", [cg, neurgrad, lpi, integrated_gradients])
def test_several_targets_add_an_axis(engine, facts, estimate):
    prompts, answers = facts
    one = estimate(engine, prompts, answers)
    two = estimate(engine, prompts, [[answers[0], answers[1]]] * 2)
    assert two.shape == (2, 2, engine.n_layers, engine.n_neurons)
    np.testing.assert_allclose(two[0, 0], one[0], atol=1e-13)
    np.testing.assert_allclose(two[1, 1], one[1], atol=1e-13)


def test_bad_options_are_refused(engine, facts):
    with pytest.raises(ValueError, match="expected 'layer' or 'neuron'"):
        integrated_gradients(engine, *facts, path="all")
    with pytest.raises(ValueError, match="steps is 0"):
        integrated_gradients(engine, *facts, steps=0)
    with pytest.raises(ValueError, match="'frozen' or 'recomputed'"):
        lpi(engine, *facts, norm="none")


def test_lpi_of_a_masked_model_is_refused():
    engine = demo.load("masked")
    table = demo.prompts("masked").head(1)
    with pytest.raises(NotImplementedError, match="masked"):
        lpi(engine, table["prompt"].tolist(), table["answer"].tolist())
