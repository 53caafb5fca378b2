"""A folder with a PEFT adapter is the adapted model, as transformers' auto class loads it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import build
from small_tokenizers import byte_level
from transformers import AutoModelForCausalLM

from negkernel import Engine

peft = pytest.importorskip("peft")
IDS, TARGET = [5, 77, 130, 22, 9], 41


@pytest.fixture
def adapter(tmp_path):
    model, base, folder = build("llama", torch.float32, vocab_size=420), "base", "adapter"
    model.save_pretrained(tmp_path / base)
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    )
    peft.get_peft_model(model, config).save_pretrained(tmp_path / folder)
    point_to(tmp_path / folder, str(tmp_path / base))
    return tmp_path / folder


def point_to(folder, base):
    path = folder / "adapter_config.json"
    settings = {**json.loads(path.read_text()), "base_model_name_or_path": base}
    path.write_text(json.dumps(settings))


def logprob(model):
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0, -1].log_softmax(-1)[TARGET].item()


def test_it_is_loaded_as_transformers_does(adapter):
    engine = Engine.from_pretrained(adapter)
    right = logprob(AutoModelForCausalLM.from_pretrained(adapter).eval())
    plain = logprob(AutoModelForCausalLM.from_pretrained(adapter.parent / "base").eval())
    found = engine.sweep([IDS], [TARGET], [[0, 1]], [1.0]).base_logprob[0]
    assert abs(right - plain) > 1e-3, "the adapter does nothing"
    assert abs(found - right) < 1e-5


def test_the_tokenizer_is_the_adapters_or_the_models_or_none(adapter, caplog):
    assert Engine.from_pretrained(adapter).tokenizer is None
    assert "without a tokenizer" in caplog.text
    byte_level().save_pretrained(adapter.parent / "base")
    assert len(Engine.from_pretrained(adapter).tokenizer) == len(byte_level())
    own = byte_level()
    own.add_tokens(["[OWN]"])
    own.save_pretrained(adapter)
    assert len(Engine.from_pretrained(adapter).tokenizer) == len(byte_level()) + 1


def test_what_is_wrong_with_it_is_one_line(adapter, monkeypatch):
    base = str(adapter.parent / "base")
    for wrong, message in (
        (str(adapter / "nowhere"), "nowhere"),
        (None, "no base_model_name_or_path; expected the folder or Hub id"),
    ):
        point_to(adapter, wrong)
        with pytest.raises(ValueError, match=f"^cannot load a model from .*{message}") as caught:
            Engine.from_pretrained(adapter)
        assert "\n" not in str(caught.value)
    point_to(adapter, base)
    weights = load_file(adapter / "adapter_model.safetensors")
    removed = sorted(weights)[0]
    kept = {name: weight for name, weight in weights.items() if name != removed}
    save_file(kept, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack 1 tensors .*q_proj\.lora_A"):
        Engine.from_pretrained(adapter)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"an adapter needs the package 'peft'.*adapters"):
        Engine.from_pretrained(adapter)


def test_an_adapted_model_is_swept_as_hooks_would(adapter):
    engine = Engine.from_pretrained(adapter)
    layer = engine.model.model.layers[1].mlp.up_proj

    def shifted(module, arguments, output):
        output[:, -1, 7] += 1.5
        return output

    base = logprob(engine.model)
    handle = layer.register_forward_hook(shifted)
    right = logprob(engine.model) - base
    handle.remove()
    found = engine.sweep([IDS], [TARGET], [[1, 7]], [1.5], axis="signed").logprob_shift[0, 0, 0]
    np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-6)
