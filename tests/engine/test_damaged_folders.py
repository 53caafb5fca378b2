"""Every damaged model folder is one clear line, in little time and memory."""

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import build
from small_tokenizers import byte_level

from negkernel import Engine

REQUEST = (["The capital of France is"], ["Paris"], [[0, 1], [2, 39]], [-1.0, 1.0])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "small-llama"
    build("llama", torch.float32, vocab_size=420).save_pretrained(folder)
    byte_level().save_pretrained(folder)
    return folder


@pytest.fixture
def damaged(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "damaged")


def config(**changed):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))

    return damage


def text(name, content):
    def damage(folder):
        (folder / name).write_bytes(content)

    return damage


def tensors(change):
    def damage(folder):
        weights = load_file(folder / "model.safetensors")
        change(weights)
        kept = {name: weight.contiguous() for name, weight in weights.items()}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def cut(name, size):
    def damage(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return damage


def gone(name):
    return lambda folder: (folder / name).unlink()


def sharded(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = load_file(folder / "model-00001-of-00002.safetensors")
    index = dict.fromkeys(names, "model-00001-of-00002.safetensors")
    index["lm_head.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
    )


def as_pickle(content):
    def damage(folder):
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)

    return damage


Q = "model.layers.0.self_attn.q_proj"
DAMAGES = {
    "config empty": (text("config.json", b""), "model .*not a valid JSON"),
    "config cut": (cut("config.json", 40), "model .*not a valid JSON"),
    "config not UTF-8": (text("config.json", b"\xff\xfe{"), "model "),
    "config a list": (text("config.json", b"[]"), "model "),
    "config null": (text("config.json", b"null"), "model "),
    "config a number": (text("config.json", b"3"), "model "),
    "config without a type": (text("config.json", b"{}"), "model .*model_type"),
    "config of no language model": (config(model_type="vit"), "model "),
    "unknown type": (config(model_type="zork"), "model .*zork"),
    "type null": (config(model_type=None), "model "),
    "architectures a number": (config(architectures=7), "model "),
    "1e5 layers": (
        config(num_hidden_layers=10**5),
        "num_hidden_layers=100000 but the .*30 tensors",
    ),
    "1e9 layers": (config(num_hidden_layers=10**9), "num_hidden_layers=1000000000 but the weight"),
    "900 layers": (config(num_hidden_layers=900), "modules, far more than the weight files fill"),
    "4 layers": (config(num_hidden_layers=4), r"lack 9 tensors of LlamaForCausalLM.*layers\.3"),
    "2 layers": (config(num_hidden_layers=2), r"hold 9 tensors that LlamaForCausalLM would ignore"),
    "no layers": (config(num_hidden_layers=0), "model "),
    "-1 layers": (config(num_hidden_layers=-1), "model "),
    "layers in words": (config(num_hidden_layers="three"), "model "),
    "layers null": (config(num_hidden_layers=None), "model "),
    "1e9 labels": (config(num_labels=10**9), "num_labels=1000000000 but the weight files hold"),
    "vast hidden": (config(hidden_size=10**7), "parameters but the weight files hold"),
    "vast vocabulary": (config(vocab_size=10**10), "parameters but the weight files hold"),
    "vast MLP": (config(intermediate_size=10**9), "parameters but the weight files hold"),
    "many heads": (config(num_key_value_heads=10**9), "parameters but the weight files hold"),
    "heads that do not divide": (config(num_attention_heads=10**9), "model .*not a multiple"),
    "wide heads": (config(head_dim=2 * 10**9), "parameters but the weight files hold"),
    "no heads": (config(num_attention_heads=0), "model "),
    "hidden of another size": (
        config(hidden_size=40),
        r"sizes of its config: .* is \[\d+, \d+\], n",
    ),
    "vocabulary of another size": (
        config(vocab_size=421),
        r"embed_tokens.* is \[420, 32\], not \[4",
    ),
    "hidden null": (config(hidden_size=None), "model "),
    "hidden in words": (config(hidden_size="wide"), "model "),
    "unknown activation": (config(hidden_act="zork"), "model .*zork"),
    "rope in words": (config(rope_parameters="long"), "model "),
    "rope of no type": (config(rope_parameters={"rope_type": "zork"}), "model "),
    "padding beyond": (config(pad_token_id=10**6), "model "),
    "of another architecture": (
        config(model_type="gemma"),
        r"names the architecture LlamaForCausalLM \('llama'\) but the model_type 'gemma'",
    ),
    "renamed": (
        config(model_type="gpt2", architectures=["GPT2LMHeadModel"]),
        r"lack \d+ tensors of GPT2LMHeadModel.*transformer\.h\.0",
    ),
    "weights empty": (text("model.safetensors", b""), "model "),
    "weights cut in the header": (cut("model.safetensors", 1000), "model .*header"),
    "weights cut in the data": (cut("model.safetensors", 20000), "model "),
    "weights are noise": (text("model.safetensors", b"\x07" * 4096), "model "),
    "weights gone": (gone("model.safetensors"), r"model .*no file named model\.safetensors"),
    "a shard gone": (sharded, "model "),
    "index a list": (
        lambda folder: (
            gone("model.safetensors")(folder),
            text("model.safetensors.index.json", b"[]")(folder),
        ),
        "model ",
    ),
    "a tensor gone": (
        tensors(lambda weights: weights.pop(f"{Q}.weight")),
        rf"lack 1 tensors of LlamaForCausalLM.*: {Q}\.weight; expected",
    ),
    "the head gone": (tensors(lambda weights: weights.pop("lm_head.weight")), r"lm_head\.weight"),
    "a tensor cut": (
        tensors(lambda weights: weights.update({f"{Q}.weight": weights[f"{Q}.weight"][:4]})),
        rf"{Q}\.weight is \[4, 32\], not \[48, 32\]",
    ),
    "a tensor too much": (
        tensors(lambda weights: weights.update({f"{Q}.bias": torch.zeros(32)})),
        rf"hold 1 tensors that LlamaForCausalLM would ignore: {Q}\.bias",
    ),
    "pickle empty": (as_pickle(b""), "model "),
    "pickle noise": (as_pickle(b"PK\x03\x04" + b"\x00" * 99), "model "),
    "pickle of code": (as_pickle(b"cos\nsystem\n(S'true'\ntR."), "model "),
    "tokenizer empty": (text("tokenizer.json", b""), "tokenizer "),
    "tokenizer cut": (cut("tokenizer.json", 500), "tokenizer "),
    "tokenizer of another kind": (text("tokenizer.json", b'{"version": 3}'), "tokenizer "),
    "tokenizer's config a list": (text("tokenizer_config.json", b"[1]"), "tokenizer "),
    "adapter of nothing": (
        lambda folder: (
            gone("config.json")(folder),
            text("adapter_config.json", b'{"base_model_name_or_path": null}')(folder),
        ),
        "no base_model_name_or_path; expected",
    ),
    "adapter's config null": (
        lambda folder: (gone("config.json")(folder), text("adapter_config.json", b"null")(folder)),
        "model ",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_folders(damaged, damage, message):
    damage(damaged)
    start = time.process_time()
    with pytest.raises(ValueError, match=rf"^cannot load .*{message}") as caught:
        Engine.from_pretrained(damaged)
    assert "\n" not in str(caught.value), "the command line prints one line"
    assert time.process_time() - start < 20
