"""Objects that hold a model, weights that lie elsewhere or nowhere, and foreign formats."""

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from plain_forwards import NEURONS, PROMPTS, SHIFTS, TARGETS, Ids, assert_right, bert, llama, up

from negkernel import Engine

peft = pytest.importorskip("peft")


def trained(model):
    """Adapters with something in them."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


ADAPTERS = {
    "LoRA": peft.LoraConfig(
        r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    ),
    "DoRA": peft.LoraConfig(r=4, target_modules=["v_proj"], use_dora=True, task_type="CAUSAL_LM"),
    "norms": peft.LNTuningConfig(target_modules=["input_layernorm"], task_type="CAUSAL_LM"),
    "(IA)3": peft.IA3Config(
        target_modules=["k_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        task_type="CAUSAL_LM",
    ),
}


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters(adapter, inner):
    wrapped = trained(peft.get_peft_model(llama(), ADAPTERS[adapter]))
    engine = Engine(wrapped.get_base_model() if inner else wrapped)
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert_right(sweep, wrapped, lambda m, layer: up(m.get_base_model(), layer))


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    ],
    ids=["prompt", "prefix"],
)
def test_virtual_tokens_are_refused(config):
    with pytest.raises(NotImplementedError, match=r"PeftModelForCausalLM with P.*_TUNING"):
        Engine(peft.get_peft_model(llama(), config))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model, backend="eager"),
        torch.nn.DataParallel,
        lambda model: peft.get_peft_model(model, peft.LoraConfig(target_modules=["query"])),
    ],
    ids=["compiled", "parallel", "PEFT"],
)
def test_wrapped_masked_models(wrap):
    inner = bert()
    prompt = [9, 5, 40, 33, 60]
    right = Engine(inner, Ids()).sweep([prompt], [17], NEURONS, SHIFTS).logprob_shift
    engine = Engine(wrap(inner), Ids())
    assert engine.task == "masked"
    found = engine.sweep([prompt], [17], NEURONS, SHIFTS).logprob_shift
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-4 * (1 + np.abs(right).max()))


def test_a_compiled_layer():
    model = llama()
    model.model.layers[1] = torch.compile(model.model.layers[1], backend="eager")
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert_right(sweep, llama())


@pytest.mark.parametrize("method", ["auto", "full"])
@pytest.mark.parametrize("where", ["processor", "disk", "a layer", "hooks alone"])
def test_offloaded(where, method, tmp_path):
    model = llama()
    if where == "processor":
        cpu_offload(model, torch.device("cpu"))
    elif where == "disk":
        disk_offload(model, str(tmp_path), torch.device("cpu"))
    else:
        places = dict.fromkeys(
            ["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"], "cpu"
        ) | {f"model.layers.{i}": "cpu" for i in range(3)}
        if where == "a layer":
            places["model.layers.1"] = "disk"
        dispatch_model(
            model, places, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True
        )
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method=method)
    if where == "hooks alone" and method == "auto":
        assert sweep.method == "delta"
    assert_right(sweep, llama())


@pytest.mark.parametrize(
    "name", ["model.norm", "model.layers.1.mlp.down_proj", "model.embed_tokens"]
)
def test_weights_that_nothing_filled(name):
    model = llama()
    module = model.get_submodule(name)
    module.weight = torch.nn.Parameter(torch.empty_like(module.weight, device="meta"))
    for method in ("auto", "delta", "suffix", "full"):
        with pytest.raises(ValueError, match=rf"{name}.weight .*meta device"):
            Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method=method)
    with pytest.raises(ValueError, match=r"meta device"):
        Engine(model).gradients(PROMPTS, TARGETS)


@pytest.mark.parametrize("name", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
def test_torchao(name):
    quantization = pytest.importorskip("torchao.quantization")
    model = llama(hidden_size=64, intermediate_size=128)
    quantization.quantize_(model, getattr(quantization, name)())
    for method in ("auto", "suffix"):
        sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method=method)
        assert_right(sweep, model)
