"""Engines from a folder, with the options that the auto classes take."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from small_models import build
from small_tokenizers import byte_level

from negkernel import Engine

REQUEST = (["The capital of France is"], ["Paris"], [[0, 1], [2, 39]], [-1.0, 1.0])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A bf16 checkpoint with its tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoint") / "small-llama"
    build("llama", torch.bfloat16, vocab_size=420).save_pretrained(folder)
    byte_level().save_pretrained(folder)
    return folder


@pytest.fixture
def damaged(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "damaged")


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("auto", torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        (torch.float32, torch.float32),
        ("float64", torch.float64),
        (torch.float64, torch.float64),
    ],
)
def test_dtype(saved, dtype, expected):
    engine = Engine.from_pretrained(saved, dtype=dtype)
    assert engine.model.dtype == expected
    assert not engine.model.training
    sweep = engine.sweep(*REQUEST)
    assert sweep.method == "delta"
    assert sweep.dtype == str(expected).removeprefix("torch.")
    kind = np.float64 if expected == torch.float64 else np.float32
    assert sweep.logprob_shift.dtype == sweep.activation.dtype == kind


@pytest.mark.parametrize("device", ["zz", "cuda:99", 99])
def test_a_device_that_is_not_there(saved, device):
    with pytest.raises(ValueError, match=rf"device '{device}' cannot be used: .*'cpu' or 'cuda'"):
        Engine.from_pretrained(saved, device=device)


def test_same_numbers_as_a_live_model(saved):
    loaded = Engine.from_pretrained(str(saved), dtype=torch.float64)
    live = Engine(build("llama", torch.bfloat16, vocab_size=420).double(), byte_level())
    a, b = loaded.sweep(*REQUEST), live.sweep(*REQUEST)
    np.testing.assert_array_equal(a.logprob_shift, b.logprob_shift)
    assert a.prompt_tokens == b.prompt_tokens
    assert a.model == str(saved)


@pytest.mark.parametrize("options", [{"device": "cpu"}, {"device_map": "cpu"}])
def test_device(saved, options):
    engine = Engine.from_pretrained(saved, **options)
    assert engine.model.device.type == "cpu"
    assert engine.sweep(*REQUEST).method == "delta"


def test_options_of_the_engine(saved):
    engine = Engine.from_pretrained(
        saved, memory_budget=2**20, gemm_dtype=torch.bfloat16, task="causal"
    )
    roomy = Engine.from_pretrained(saved, gemm_dtype=torch.bfloat16)
    exact = Engine.from_pretrained(saved)
    shift = engine.sweep(*REQUEST).logprob_shift
    np.testing.assert_allclose(shift, roomy.sweep(*REQUEST).logprob_shift, atol=1e-5)
    assert (shift != exact.sweep(*REQUEST).logprob_shift).all(), "bf16 operands were not used"


def test_options_are_passed_on(saved, monkeypatch):
    """Revision and cache to all three loaders, the model's own options to the model alone."""
    seen = {}
    for name in ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"):
        auto = getattr(transformers, name)
        original = auto.from_pretrained

        def recording(path, *, _name=name, _original=original, **options):
            seen.setdefault(_name, options)  # loaders call one another
            return _original(path, **options)

        monkeypatch.setattr(auto, "from_pretrained", recording)
    options = {"revision": "v1.2", "cache_dir": str(saved.parent)}
    Engine.from_pretrained(saved, attn_implementation="eager", **options)
    assert seen["AutoTokenizer"] == options
    assert seen["AutoConfig"] == options
    own = {**options, "attn_implementation": "eager", "dtype": "auto"}
    assert own.items() <= seen["AutoModelForCausalLM"].items()


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match=r"cannot load a model from .*nowhere.*save_pretrained"):
        Engine.from_pretrained(tmp_path / "nowhere")


def test_folder_without_a_model(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ValueError, match=r"not a model folder: it has no config\.json; expected"):
        Engine.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"not a model folder"):
        Engine.from_pretrained(tmp_path / "notes.txt")


def test_hub_id_that_cannot_be_reached(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"cannot load a model from 'nobody/nothing'.*Hub id"):
        Engine.from_pretrained("nobody/nothing")


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def break_config(folder):
    (folder / "config.json").write_text("{")


def unknown_architecture(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "zork"}))


def break_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_weights, r"a model from .*no file named model\.safetensors"),
        (cut_weights, r"a model from .*header.*files are there and complete"),
        (break_config, r"a model from .*not a valid JSON"),
        (unknown_architecture, r"a model from .*zork"),
        (break_tokenizer, r"a tokenizer from .*files are there and complete"),
    ],
)
def test_damaged_folder(damaged, damage, message):
    damage(damaged)
    with pytest.raises(ValueError, match=rf"cannot load {message}") as caught:
        Engine.from_pretrained(damaged)
    assert "\n" not in str(caught.value), "the command line prints one line"


def test_unknown_dtype(saved):
    with pytest.raises(ValueError, match=r"dtype 'float12' is unknown; expected 'auto'"):
        Engine.from_pretrained(saved, dtype="float12")


def test_another_task(saved):
    with pytest.raises(ValueError, match=r"is a causal language model but task='masked'"):
        Engine.from_pretrained(saved, task="masked")
