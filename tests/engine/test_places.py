"""Places that other libraries name are the sites and neurons that they are there."""

import numpy as np
import pytest
import torch
from small_models import build
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    Phi3Config,
    Phi3ForCausalLM,
)

from negkernel import Engine, Intervention

IDS, TARGET = [11, 45, 23, 67, 90, 31], 17


@pytest.fixture(scope="module")
def llama():
    return Engine(build("llama", torch.float32))


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=101, n_embd=32, n_layer=3, n_head=4)
    return Engine(GPT2LMHeadModel(config).eval())


@pytest.fixture(scope="module")
def bert():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    model = BertForMaskedLM(BertConfig(vocab_size=101, num_attention_heads=4, **sizes)).eval()

    class Tokenizer:
        mask_token_id, mask_token = 23, "[MASK]"
        decode = str

    return Engine(model, Tokenizer())


def recorded(model, module, is_input):
    """What a hook on the module sees at the probed token."""
    seen = []
    if is_input:
        handle = module.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    else:
        handle = module.register_forward_hook(lambda m, args, out: seen.append(out))
    with torch.no_grad():
        model(input_ids=torch.tensor([IDS]))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("kind", "name", "site", "path"),
    [
        ("llama", "model.layers.1.mlp.up_proj.output", "up", "model.layers.1.mlp.up_proj"),
        ("llama", "model.layers[1].mlp.gate_proj.output", "gate", "model.layers.1.mlp.gate_proj"),
        ("llama", "model.layers.1.mlp.down_proj.input", "post", "model.layers.1.mlp.down_proj"),
        ("llama", "layers.1.mlp.down_proj.input", "post", "model.layers.1.mlp.down_proj"),
        ("llama", "model.model.layers.1.mlp.up_proj.output", "up", "model.layers.1.mlp.up_proj"),
        ("llama", "blocks.1.mlp.hook_pre", "gate", "model.layers.1.mlp.gate_proj"),
        ("llama", "blocks.1.mlp.hook_pre_linear", "up", "model.layers.1.mlp.up_proj"),
        ("llama", "blocks.1.mlp.hook_post", "post", "model.layers.1.mlp.down_proj"),
        ("llama", "blocks.1.mlp.in.hook_out", "up", "model.layers.1.mlp.up_proj"),
        ("llama", "blocks.1.mlp.gate.hook_out", "gate", "model.layers.1.mlp.gate_proj"),
        ("llama", "blocks.1.mlp.out.hook_in", "post", "model.layers.1.mlp.down_proj"),
        ("gpt2", "blocks.1.mlp.hook_pre", "pre", "transformer.h.1.mlp.c_fc"),
        ("gpt2", "blocks.1.mlp.in.hook_out", "pre", "transformer.h.1.mlp.c_fc"),
        ("gpt2", "blocks.1.mlp.hook_post", "post", "transformer.h.1.mlp.c_proj"),
        ("gpt2", "transformer.h.1.mlp.c_fc.output", "pre", "transformer.h.1.mlp.c_fc"),
        ("gpt2", "transformer.h.1.mlp.c_proj.input", "post", "transformer.h.1.mlp.c_proj"),
        ("gpt2", "transformer.h.1.mlp.act.output", "post", "transformer.h.1.mlp.act"),
        ("bert", "bert.encoder.layer.1.intermediate.output", "post", "intermediate"),
        ("bert", "encoder.layer.1.intermediate.dense.output", "pre", "intermediate.dense"),
        ("bert", "encoder.layer.1.output.dense.input", "post", "output.dense"),
    ],
)
def test_a_place_is_what_a_hook_sees_there(request, kind, name, site, path):
    engine = request.getfixturevalue(kind)
    at = 2 if kind == "bert" else -1
    path = f"bert.encoder.layer.1.{path}" if kind == "bert" else path
    module = engine.model.get_submodule(path)
    is_input = path.endswith(("down_proj", "c_proj", "output.dense"))
    right = recorded(engine.model, module, is_input)[0, at].numpy()
    found = engine.sweep([IDS], [TARGET], name, [1.0])
    assert found.site == site
    assert found.neurons.tolist() == [[1, i] for i in range(len(right))]
    np.testing.assert_allclose(found.activation[0], right, atol=1e-5)
    some = engine.sweep([IDS], [TARGET], {name: [5, 2]}, [1.0])
    assert some.neurons.tolist() == [[1, 5], [1, 2]]
    # Rows of another batch are summed in another order.
    np.testing.assert_allclose(some.logprob_shift, found.logprob_shift[:, [5, 2]], atol=1e-6)
    as_site = engine.sweep([IDS], [TARGET], [5, 2], [1.0], site=name)
    np.testing.assert_array_equal(as_site.logprob_shift, some.logprob_shift)


def test_places_without_a_layer_are_sites(llama):
    plain = llama.sweep([IDS], [TARGET], [[0, 1], [2, 3]], [1.0], site="post")
    for site in ("hook_post", "mlp.hook_post", "mlp.down_proj.input", "down_proj.input"):
        found = llama.sweep([IDS], [TARGET], [[0, 1], [2, 3]], [1.0], site=site)
        assert found.site == "post"
        np.testing.assert_array_equal(found.logprob_shift, plain.logprob_shift)
    right = llama.gradients([IDS], [TARGET], site="post").cg
    np.testing.assert_array_equal(llama.gradients([IDS], [TARGET], site="hook_post").cg, right)
    several = ["blocks.0.mlp.hook_post", "blocks.2.mlp.hook_post"]
    assert set(llama.sweep([IDS], [TARGET], several, [1.0]).neurons[:, 0]) == {0, 2}


def test_interventions_take_places_and_other_names_of_axes(llama):
    right = Intervention([[1, 3], [1, 4]], [0.5, 2.0], axis="signed", site="post")
    named = Intervention([[1, 3], [1, 4]], [0.5, 2.0], axis="add", site="blocks.1.mlp.hook_post")
    found = llama.intervene([IDS], [TARGET], [right, named]).logprob_shift[0]
    assert found[0] == found[1] != 0


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_ablations_put_a_value_in_the_place_of_a_neuron(request, kind):
    engine = request.getfixturevalue(kind)
    prompts, targets, neurons = [IDS, [9, 8, 23, 3]], [17, 4], [[0, 1], [2, 3]]
    zero = engine.sweep(prompts, targets, neurons, axis="zero_ablation")
    value = engine.sweep(prompts, targets, neurons, [0.0], axis="replace")
    np.testing.assert_array_equal(zero.logprob_shift, value.logprob_shift)
    mean = engine.sweep(prompts, targets, neurons, axis="mean_ablation")
    assert mean.axis == "mean_ablation"
    for n, amount in enumerate(mean.activation.mean(0).tolist()):
        one = engine.sweep(prompts, targets, neurons[n : n + 1], [amount], axis="value")
        np.testing.assert_allclose(mean.logprob_shift[:, n], one.logprob_shift[:, 0], atol=1e-6)
    assert np.abs(mean.logprob_shift - zero.logprob_shift).max() > 1e-6


@pytest.mark.parametrize(
    ("kind", "neurons", "options", "message"),
    [
        ("llama", "blocks.9.mlp.hook_post", {}, "layers 0 to 2"),
        ("llama", "hook_post", {}, "expected one that says which"),
        ("llama", "up_proj.output", {}, "expected one that says which"),
        ("gpt2", "blocks.1.mlp.hook_pre_linear", {}, "ungated MLP; expected .*hook_pre, hook_post"),
        ("llama", "blocks.1.attn.hook_z", {}, "no place of neurons"),
        ("llama", "blocks.1.mlp.hook_in", {}, "no place of neurons"),
        ("llama", "model.layers.1.mlp.upp_proj.output", {}, r"matches no module .*up_proj\.output"),
        ("llama", "model.layers.1.mlp.down_proj.output", {}, "not where a layer's neurons are"),
        ("llama", "model.layers.1.mlp.up_proj", {}, "has no known form"),
        ("llama", ["blocks.1.mlp.hook_post", "blocks.1.mlp.hook_pre"], {}, "of one site"),
        ("llama", "blocks.1.mlp.hook_post", {"site": "up"}, "site 'post', not 'up'"),
        ("llama", [[0, 1]], {"site": "blocks.1.mlp.hook_post"}, "in layer 1, but layer 0"),
    ],
)
def test_what_is_no_place_is_refused_in_a_line(request, kind, neurons, options, message):
    engine = request.getfixturevalue(kind)
    with pytest.raises(ValueError, match=message):
        engine.sweep([IDS], [TARGET], neurons, [1.0], **options)


def test_a_layers_place_is_no_site_of_all_layers(llama):
    with pytest.raises(ValueError, match="expected site='post'"):
        llama.gradients([IDS], [TARGET], site="blocks.1.mlp.hook_post")


def test_a_fused_module_holds_two_sites():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = Phi3Config(vocab_size=101, num_attention_heads=4, pad_token_id=0, **sizes)
    engine = Engine(Phi3ForCausalLM(config))
    with pytest.raises(ValueError, match="several sites: gate, up"):
        engine.sweep([IDS], [TARGET], "model.layers.0.mlp.gate_up_proj.output", [1.0])
    found = engine.sweep([IDS], [TARGET], "model.layers.0.mlp.down_proj.input", [1.0])
    assert found.site == "post"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shifts": [1.0], "axis": "zero_ablation"}, "has no shifts"),
        ({"axis": "mean_ablation", "resolution": "spectral"}, "expected resolution='grid'"),
        ({"axis": "mean_ablation", "position": 2}, "no position"),
        ({"shifts": [1.0], "axis": "ablate"}, "axis 'ablate' is unknown"),
        ({}, "shifts must be numbers"),
    ],
)
def test_ablations_that_have_no_meaning(llama, options, message):
    with pytest.raises(ValueError, match=message):
        llama.sweep([IDS], [TARGET], [[0, 1]], **options)
