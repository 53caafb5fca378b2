"""What libraries wrap around a model gives the numbers of the model inside, or a clear line."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import build
from small_tokenizers import byte_level
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining

from negkernel import Engine, adapt

IDS, TARGET, NEURONS, SHIFTS = [11, 45, 23, 67, 90, 31], 17, [(0, 3), (2, 5)], [-2.0, 0.5, 3.0]
MASK = SimpleNamespace(mask_token_id=23, mask_token="[MASK]", decode=str)
BERT = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


class HookPoint(nn.Module):
    def forward(self, x):
        return x


class LinearBridge(nn.Module):
    """As TransformerLens puts one around a module: hook points before and after it."""

    def __init__(self, module):
        super().__init__()
        self.hook_in, self.hook_out = HookPoint(), HookPoint()
        self.add_module("_original_component", module)

    def forward(self, *args, **kwargs):
        return self.hook_out(self._original_component(self.hook_in(args[0]), *args[1:], **kwargs))


class TransformerBridge(nn.Module):
    _weights_processed = False

    def __init__(self, model, tokenizer=None):
        super().__init__()
        self.__dict__["original_model"], self.tokenizer = model, tokenizer
        for layer in model.model.layers:
            for parent in (layer.mlp, layer.self_attn):
                for name, module in list(parent.named_children()):
                    if isinstance(module, nn.Linear):
                        parent._modules[name] = LinearBridge(module)
            layer._modules["mlp"] = LinearBridge(layer.mlp)

    def forward(self, input):
        return self.original_model(input_ids=input).logits


class Envoy:
    def __init__(self, module):
        self._module = module


class IntervenableModel(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.interventions, self.model = nn.ModuleDict(), model


class HookedTransformer(nn.Module):
    cfg = SimpleNamespace(tokenizer_name="some/model")


@pytest.fixture
def model():
    return build("llama", torch.float32)


@pytest.fixture(scope="module")
def right():
    return numbers(Engine(build("llama", torch.float32)))


def numbers(engine, ids=IDS):
    sweep = engine.sweep([ids], [TARGET], NEURONS, SHIFTS)
    return sweep.base_logprob, sweep.logprob_shift, engine.gradients([ids], [TARGET]).cg


def same(found, right):
    return all(np.array_equal(a, b) for a, b in zip(found, right, strict=True))


def lora(model, target):
    peft = pytest.importorskip("peft", reason="needs peft")
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=[target])).eval()


@pytest.mark.parametrize(
    "wrap",
    [
        Envoy,
        TransformerBridge,
        IntervenableModel,
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
        lambda model: Envoy(TransformerBridge(model)),
        lambda model: TransformerBridge(model).original_model,
    ],
)
def test_delta_serves_the_model_inside(model, right, wrap):
    engine = Engine(wrap(model))
    assert engine.method_for() == "delta"
    assert same(numbers(engine), right)
    given = list(engine.model.parameters())
    assert [id(p) for p in given] == [id(p) for p in adapt(model).parameters()]


def test_a_model_of_transformers_is_itself(model):
    assert adapt(model) is model
    assert adapt(IntervenableModel(model)) is model


def test_a_model_compiled_in_place_stays_compiled(model, right):
    model.compile(backend="eager")
    engine, compiled = Engine(model), model._compiled_call_impl
    assert engine.method_for() == "delta"
    assert same(numbers(engine), right)
    assert model._compiled_call_impl is compiled


def test_accelerate_prepares_what_delta_serves(model, right):
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    engine = Engine(accelerate.Accelerator(cpu=True).prepare(model))
    assert engine.method_for() == "delta"
    assert same(numbers(engine), right)


def test_an_adapter_is_the_model_that_it_adapts(model):
    wrapped = lora(model, "down_proj")
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    engine = Engine(wrapped)
    assert engine.model is wrapped.get_base_model()
    merged = copy.deepcopy(wrapped).merge_and_unload()
    found, right = numbers(engine), numbers(Engine(merged))
    np.testing.assert_allclose(found[1], right[1], atol=1e-4)
    assert np.abs(right[1]).max() > 0.01


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_masked_models_are_masked(kind, wrap):
    torch.manual_seed(0)
    model = kind(BertConfig(**BERT)).eval()
    right = numbers(Engine(model, MASK))
    engine = Engine(wrap(model), MASK)
    assert (engine.task, engine.method_for()) == ("masked", "delta")
    assert same(numbers(engine), right)
    assert Engine(lora(model, "query"), MASK).task == "masked"


def test_hooks_on_a_bridge_run_while_they_are_there(model, right):
    bridge = TransformerBridge(model)
    engine = Engine(bridge)
    numbers(engine)
    hook = model.model.layers[1].mlp.hook_out.register_forward_hook(lambda m, args, out: 3 * out)
    assert engine.method_for() in ("generic", "suffix")
    with torch.no_grad():
        logits = bridge(torch.tensor([IDS]))[0, -1]
    base, shifted, _ = numbers(engine)
    assert abs(base[0] - torch.log_softmax(logits, -1)[TARGET].item()) < 1e-4
    assert np.abs(shifted - right[1]).max() > 1e-3
    hook.remove()
    assert engine.method_for() == "delta"
    assert same(numbers(engine), right)


def test_a_bridge_that_computes_something_else_is_refused(model):
    bridge = TransformerBridge(model)
    component = model.model.layers[0].mlp
    component.forward = lambda x: 2 * component._original_component(x)
    with pytest.raises(NotImplementedError, match="differ from the model's own"):
        Engine(bridge).sweep([IDS], [TARGET], NEURONS, SHIFTS)


def test_the_wrappers_tokenizer_is_taken(model):
    tokenizer = byte_level()
    assert Engine(TransformerBridge(model, tokenizer)).tokenizer is tokenizer
    other = byte_level()
    assert Engine(TransformerBridge(model, tokenizer), other).tokenizer is other


def folded(model):
    bridge = TransformerBridge(model)
    bridge._weights_processed = True
    return bridge


def folded_inside(model):
    bridge = TransformerBridge(model)
    model.model.layers[0].mlp._use_processed_weights = True
    return bridge.original_model


def hooked_outside(model):
    wrapper = nn.DataParallel(model)
    wrapper.register_forward_hook(lambda m, args, out: out)
    return wrapper


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (folded, "folded and centred"),
        (folded_inside, "folded weights"),
        (hooked_outside, "carries a forward hook"),
        (lambda model: HookedTransformer(), r"Engine.from_pretrained\('some/model'\)"),
        (lambda model: SimpleNamespace(policy=model), r"pass Engine\(obj.policy"),
        (
            lambda model: SimpleNamespace(policy=model, reference=copy.deepcopy(model)),
            r"holds 2 models \(.policy, .reference\); pass the one that is meant",
        ),
        (lambda model: nn.Linear(2, 2), "not a Hugging Face model"),
        (lambda model: "some/model", "not a Hugging Face model"),
    ],
)
def test_what_cannot_be_told_is_refused_in_a_line(model, wrap, message):
    with pytest.raises(ValueError, match=message):
        adapt(wrap(model))
    with pytest.raises(ValueError, match=message):
        Engine(wrap(model))
