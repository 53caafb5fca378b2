"""Objects of the libraries themselves give the numbers of the model inside, bit for bit.

They run under `make peers`, in an environment of its own, and skip with a reason elsewhere.
"""

import copy

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from negkernel import Engine

WHY = "it is installed by `make peers`"
IDS, TARGET, NEURONS, SHIFTS = [11, 45, 23, 67, 90, 31, 7], 17, [(0, 3), (2, 5)], [-2.0, 0.5, 3.0]
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}


@pytest.fixture(params=["llama", "gpt2"])
def model(request):
    torch.manual_seed(3)
    if request.param == "gpt2":
        made = GPT2LMHeadModel(GPT2Config(vocab_size=120, **GPT2))
    else:
        made = LlamaForCausalLM(LlamaConfig(vocab_size=120, num_attention_heads=4, **LLAMA))
    with torch.no_grad():
        for parameter in made.parameters():  # of norms too, so that folding them makes a difference
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.2
            parameter.add_(scale * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    words = {f"w{i}": i for i in range(120)}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="w1", eos_token="w2", pad_token="w3", unk_token="w0"
    ).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def numbers(engine):
    sweep = engine.sweep([IDS], [TARGET], NEURONS, SHIFTS)
    return sweep.base_logprob, sweep.logprob_shift, engine.gradients([IDS], [TARGET]).cg


def assert_same(obj, right):
    engine = Engine(obj)
    assert engine.method_for() == "delta"
    for found, expected in zip(numbers(engine), right, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_nnsight(model, tokenizer):
    nnsight = pytest.importorskip("nnsight", reason=WHY)
    right = numbers(Engine(copy.deepcopy(model)))
    wrapper = nnsight.NNsight(model)
    assert_same(wrapper, right)
    with wrapper.trace(torch.tensor([IDS])):
        wrapper.lm_head.output.save()
    assert_same(wrapper, right)
    language = nnsight.LanguageModel(model, tokenizer=tokenizer)
    assert Engine(language).tokenizer is language.tokenizer
    assert_same(language, right)


def test_a_sweep_in_nnsight_is_one_here(model):
    nnsight = pytest.importorskip("nnsight", reason=WHY)
    wrapper, gated = nnsight.NNsight(model), hasattr(model, "model")
    module = wrapper.model.layers[1].mlp.up_proj if gated else wrapper.transformer.h[1].mlp.c_fc
    name = "model.layers[1].mlp.up_proj.output" if gated else "transformer.h[1].mlp.c_fc.output"
    logits = []
    for shift in (0.0, 1.5):
        with wrapper.trace(torch.tensor([IDS])):
            module.output[0, -1, 7] += shift
            saved = wrapper.lm_head.output[0, -1].save()
        logits.append(torch.log_softmax(saved.detach().double(), -1)[TARGET].item())
    found = Engine(wrapper).sweep([IDS], [TARGET], {name: [7]}, [1.5], axis="add")
    assert abs(found.logprob_shift[0, 0, 0] - (logits[1] - logits[0])) < 1e-5


def bridged(model, tokenizer):
    bridges = pytest.importorskip("transformer_lens.model_bridge", reason=WHY)
    return bridges.TransformerBridge.boot_transformers(
        f"local/{model.config.model_type}", hf_model=model, tokenizer=tokenizer
    )


def test_transformer_lens(model, tokenizer):
    right = numbers(Engine(copy.deepcopy(model)))
    bridge = bridged(model, tokenizer)
    assert_same(bridge, right)
    assert_same(bridge.original_model, right)
    bridge.enable_compatibility_mode(no_processing=True)
    assert_same(bridge, right)


def test_hooks_of_transformer_lens(model, tokenizer):
    right = numbers(Engine(copy.deepcopy(model)))
    bridge = bridged(model, tokenizer)
    engine = Engine(bridge)
    bridge.blocks[1].mlp.hook_out.add_hook(lambda x, hook: 0.5 * x)
    assert engine.method_for() in ("generic", "suffix")
    with torch.no_grad():
        logprob = torch.log_softmax(bridge(torch.tensor([IDS]))[0, -1], -1)[TARGET].item()
    assert abs(numbers(engine)[0][0] - logprob) < 1e-4
    bridge.reset_hooks()
    for found, expected in zip(numbers(engine), right, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_hook_names_of_transformer_lens_are_the_tensors_they_name(model, tokenizer):
    bridge = bridged(model, tokenizer)
    engine = Engine(bridge)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(torch.tensor([IDS]))
    gated = engine.site == "up"
    for hook in ("hook_pre", "hook_post", *(["hook_pre_linear"] if gated else [])):
        name = f"blocks.1.mlp.{hook}"
        found = engine.sweep([IDS], [TARGET], name, axis="zero_ablation")
        np.testing.assert_allclose(found.activation[0], cache[name][0, -1].numpy(), atol=1e-5)

    def ablate(value, hook):
        value[:, -1, 7] = 0
        return value

    def logprob(hooks):
        with torch.no_grad():
            logits = bridge.run_with_hooks(torch.tensor([IDS]), fwd_hooks=hooks)
        return torch.log_softmax(logits[0, -1].double(), -1)[TARGET].item()

    moved = logprob([("blocks.1.mlp.hook_post", ablate)]) - logprob([])
    found = engine.sweep([IDS], [TARGET], {"blocks.1.mlp.hook_post": [7]}, axis="zero_ablation")
    assert abs(found.logprob_shift[0, 0, 0] - moved) < 1e-5


def test_folded_weights_of_transformer_lens_are_refused(model, tokenizer):
    bridge = bridged(model, tokenizer)
    engine = Engine(bridge)
    bridge.enable_compatibility_mode()
    for ask in (lambda: Engine(bridge), lambda: numbers(engine)):
        with pytest.raises(ValueError, match="folded and centred"):
            ask()
    with pytest.raises((ValueError, NotImplementedError), match=r"folded weights|model's own"):
        numbers(Engine(bridge.original_model))


def test_pyvene(model):
    pyvene = pytest.importorskip("pyvene", reason=WHY)
    right = numbers(Engine(copy.deepcopy(model)))
    place = {"layer": 0, "component": "mlp_output"}
    place["intervention_type"] = pyvene.VanillaIntervention
    wrapper = pyvene.IntervenableModel(pyvene.IntervenableConfig([place]), model=model)
    assert_same(wrapper, right)


def test_captum_finds_the_same_gradients(model):
    attr = pytest.importorskip("captum.attr", reason=WHY)
    engine = Engine(model)
    mlp = [getattr(layer.mlp, "up_proj", None) or layer.mlp.act for layer in layers(model)]

    def prob(embedded):
        logits = model(inputs_embeds=embedded).logits
        return torch.softmax(logits[:, -1], -1)[:, TARGET]

    embedded = model.get_input_embeddings()(torch.tensor([IDS])).detach()
    cg = engine.gradients([IDS], [TARGET]).cg[0]
    for layer, module in enumerate(mlp):
        product = attr.LayerGradientXActivation(prob, module, multiply_by_inputs=False)
        found = product.attribute(embedded)[0, -1].detach().numpy()
        np.testing.assert_allclose(cg[layer], found, atol=1e-6 * np.abs(found).max())


def layers(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers
