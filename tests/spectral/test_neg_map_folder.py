"""A map that is kept in a folder has the bits of an uninterrupted one, and no other model's."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from negkernel import Engine
from negkernel.results.manifest import Manifest
from negkernel.spectral import neg_map

FIELDS = ("neg", "pearson", "error", "neg_error", "neuron_rows", "activation", "base_logprob")
PROMPTS, TARGETS = [[5, 9, 2], [7, 8, 3, 11], [4, 1]], [3, 4, 6]
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "vocab_size": 32}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}


def model(seed=0):
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, initializer_range=0.3)).eval()


@pytest.fixture(autouse=True)
def one_layer_a_portion(monkeypatch):
    monkeypatch.setattr(neg_map, "CURVES", 24)


@pytest.fixture(scope="module")
def engine():
    return Engine(model())


@pytest.fixture
def kept(engine, tmp_path):
    """A folder with the whole map, and the map."""
    folder = tmp_path / "kept"
    return folder, engine.neg_map(PROMPTS, TARGETS, folder=folder)


def assert_same_bits(found, expected):
    for name in FIELDS:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert found.rows == expected.rows


def parts(folder):
    return sorted(folder.glob("prompt*.safetensors"))


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in parts(folder)}


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_neg_map_folder as case
from negkernel.results import storage
case.neg_map.CURVES = 24
write, written = storage.write, []
def stop(path, *rest):
    if len(written) == 4:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *rest)
    written.append(path)
storage.write = stop
case.Engine(case.model(), memory_budget=1 << int(sys.argv[3])).neg_map(
    case.PROMPTS, case.TARGETS, folder=sys.argv[2]
)
"""


@pytest.mark.parametrize("budget", [16, 30])
def test_a_map_killed_halfway_ends_with_the_same_bits(engine, tmp_path, budget):
    """Also where the memory that is free now would cut the prompts into other groups."""
    expected = Engine(engine.model, memory_budget=1 << budget).neg_map(PROMPTS, TARGETS)
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder), str(budget)]
    done = subprocess.run(command, check=False)
    assert done.returncode == -signal.SIGKILL
    before = stamps(folder)
    assert len(before) == 4
    found = engine.neg_map(PROMPTS, TARGETS, folder=folder)
    assert_same_bits(found, expected)
    assert before.items() <= stamps(folder).items()
    whole = {name for part in parts(folder) for name in (part.name, part.stem + ".json")}
    assert {path.name for path in folder.iterdir()} == whole | {"manifest.json"}


def test_two_processes_share_a_map(engine, kept, tmp_path):
    _, expected = kept
    script = KILLED.replace("len(written) == 4", "False")
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "b"), "30"]
    workers = [subprocess.Popen(command) for _ in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    before = stamps(tmp_path / "b")
    assert_same_bits(engine.neg_map(PROMPTS, TARGETS, folder=tmp_path / "b"), expected)
    assert stamps(tmp_path / "b") == before


DAMAGES = {
    "damaged": lambda a, b: a.write_bytes(a.read_bytes()[:-5] + b"12345"),
    "cut off": lambda a, b: a.write_bytes(a.read_bytes()[:-5]),
    "gone": lambda a, b: a.unlink(),
    "exchanged": lambda a, b: exchange(a, b),
    "exchanged with their records": lambda a, b: (
        exchange(a, b),
        exchange(a.with_suffix(".json"), b.with_suffix(".json")),
    ),
    "record damaged": lambda a, b: a.with_suffix(".json").write_text("[]"),
}


def exchange(a, b):
    other = a.with_suffix(".other")
    os.replace(a, other)
    os.replace(b, a)
    os.replace(other, b)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_portions_that_are_not_what_they_should_be_are_computed_again(engine, kept, damage):
    folder, expected = kept
    before = stamps(folder)
    first, *_, last = parts(folder)
    damage(first, last)
    assert_same_bits(engine.neg_map(PROMPTS, TARGETS, folder=folder), expected)
    after = stamps(folder)
    assert {name for name in before if before[name] != after[name]} <= {first.name, last.name}
    assert after[first.name] > before[first.name]


def test_portions_of_another_model_are_not_taken(engine, kept, tmp_path):
    folder, expected = kept
    Engine(model(1)).neg_map(PROMPTS, TARGETS, folder=tmp_path / "other")
    for path in (tmp_path / "other").glob("prompt*"):
        shutil.copy(path, folder / path.name)
    assert_same_bits(engine.neg_map(PROMPTS, TARGETS, folder=folder), expected)


def test_a_folder_of_other_weights_or_another_request_is_refused(kept):
    folder, _ = kept
    ablated = Engine(model())
    ablated.model.model.layers[1].mlp.down_proj.weight.data[:, 7] = 0
    with pytest.raises(ValueError, match="differs in weights"):
        ablated.neg_map(PROMPTS, TARGETS, folder=folder)
    engine = Engine(model())
    for name, value in {"radius": 1.0, "axis": "signed", "site": "gate"}.items():
        with pytest.raises(ValueError, match=f"differs in {name}"):
            engine.neg_map(PROMPTS, TARGETS, folder=folder, **{name: value})
    with pytest.raises(ValueError, match="differs in target_ids"):
        engine.neg_map(PROMPTS, TARGETS[::-1], folder=folder)


def test_every_flipped_bit_of_a_manifest_is_found(kept):
    folder, _ = kept
    path = folder / "manifest.json"
    good = path.read_bytes()
    manifest = Manifest.read(folder)
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        with pytest.raises(ValueError, match=r"manifest\.json") as refused:
            Manifest.read(folder)
        assert "\n" not in str(refused.value)
        assert "delete" in str(refused.value)
    path.write_bytes(good)
    assert Manifest.read(folder) == manifest


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "7", "[" * 100_000, "\x00"])
def test_another_file_in_place_of_the_manifest_is_refused(engine, kept, text):
    folder, _ = kept
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json .*; delete .* to start again"):
        engine.neg_map(PROMPTS, TARGETS, folder=folder)


FORGED = {
    "threads": ("environment", "threads", 10**6),
    "budget": ("environment", "memory_budget", 0),
    "budget as text": ("environment", "memory_budget", "many"),
    "version": ("environment", "negkernel", "9.9"),
    "nothing asked": ("asked", None, {}),
    "parts": ("parts", None, ["../../other"]),
    "kind": ("kind", None, 7),
}


@pytest.mark.parametrize(("field", "key", "value"), FORGED.values(), ids=FORGED)
def test_a_forged_manifest_with_a_right_checksum_is_refused(engine, kept, field, key, value):
    folder, _ = kept
    parts(folder)[0].unlink()
    content = vars(Manifest.read(folder))
    if key is None:
        content[field] = value
    else:
        content[field][key] = value
    (folder / "manifest.json").write_text(Manifest(**content).text)
    with pytest.raises(ValueError, match=r"expected 1 to|was started with|differs in|\.\./|kind"):
        engine.neg_map(PROMPTS, TARGETS, folder=folder)
    assert json.loads((folder / "manifest.json").read_text())


def test_the_engine_is_as_it_was(kept):
    folder, _ = kept
    engine = Engine(model())
    threads = torch.get_num_threads()
    engine.neg_map(PROMPTS, TARGETS, folder=folder)
    assert (engine.memory_budget, torch.get_num_threads()) == (None, threads)
    whole = engine.neg_map(PROMPTS, TARGETS)
    assert np.isfinite(whole.neg).all()
