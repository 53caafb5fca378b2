"""Collection: the stored orders are those of the gradients, whatever happens on the way."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_models import asked, reader
from safetensors import safe_open

from negkernel.results.manifest import Manifest
from neurgrad.features import (
    FeatureStore,
    LiveScores,
    PackedScores,
    askable,
    batches,
    collect_prompts,
    stream,
)
from neurgrad.probes import MagnProbe, PolarProbe


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "MOST_PROMPTS", 4)


def direct(engine, prompts):
    found = engine.gradients([p.text for p in prompts], [list(p.labels) for p in prompts])
    return found, found.neurgrad().reshape(len(prompts), len(prompts[0].labels), -1)


@pytest.mark.parametrize("n_labels", [2, 5])
def test_the_store_holds_the_orders_of_the_gradients(engine, tmp_path, n_labels):
    prompts = asked(10, tuple("abcde"[:n_labels]))
    store = collect_prompts(engine, prompts, tmp_path, activations=True)
    found, _ = direct(engine, prompts)
    # Batches of other sizes round differently, so the truth is computed in the same ones.
    parts = [direct(engine, prompts[i : i + 4])[1] for i in (0, 4, 8)]
    scores = np.concatenate(parts)
    whole = store.load()
    np.testing.assert_array_equal(whole.codes, PackedScores.encode(scores).codes)
    np.testing.assert_array_equal(whole.signs(), np.sign(scores))
    np.testing.assert_array_equal(whole.argmax(), scores.argmax(axis=1))
    assert whole.codes.dtype == (np.uint8 if n_labels < 5 else np.uint16)
    np.testing.assert_array_equal(store.gold, [prompt.gold for prompt in prompts])
    np.testing.assert_allclose(store.probability, found.prob, rtol=1e-4)
    np.testing.assert_allclose(
        store.activation(), found.activation.reshape(10, -1), rtol=1e-3, atol=1e-5
    )
    assert store.shape == (10, n_labels, 48)
    assert [rows for rows, _ in store.blocks()] == [slice(0, 4), slice(4, 8), slice(8, 10)]
    store.verify()


def test_an_interrupted_collection_is_completed_with_the_same_bits(engine, tmp_path):
    prompts = asked(10)
    whole = collect_prompts(engine, prompts, tmp_path / "whole")

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_prompts(engine, prompts, tmp_path / "cut", report=stop)
    with pytest.raises(ValueError, match="4 of 10 prompts"):
        FeatureStore(tmp_path / "cut")
    (tmp_path / "cut" / ".prompts-4-8.partial.safetensors").write_bytes(b"half")
    collect_prompts(engine, prompts, tmp_path / "cut")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == names
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (whole.folder / name).read_bytes()


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from feature_models import asked, reader
from neurgrad.features import batches, collect_prompts, collection
batches.MOST_PROMPTS = 4
write, written = collection.save_shard, []
def save(path, features, *rest, **options):
    write(path, features, *rest, **options)
    written.append(path)
    if len(written) == int(sys.argv[3]):  # written, and not in place
        os.kill(os.getpid(), signal.SIGKILL)
collection.save_shard = save
collect_prompts(reader(), asked(10), sys.argv[2])
"""


def worker(folder, killed_at=0):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder), str(killed_at)]
    )


def same_files(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_killed_collection_goes_on(tmp_path):
    assert worker(tmp_path / "killed", 2).wait() == -signal.SIGKILL
    first = tmp_path / "killed" / "prompts-0-4.safetensors"
    kept = os.stat(first).st_mtime_ns
    assert worker(tmp_path / "killed").wait() == worker(tmp_path / "whole").wait() == 0
    assert os.stat(first).st_mtime_ns == kept
    same_files(tmp_path / "killed", tmp_path / "whole")


def test_two_collectors_share_a_folder(tmp_path):
    both = [worker(tmp_path / "shared") for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert worker(tmp_path / "whole").wait() == 0
    same_files(tmp_path / "shared", tmp_path / "whole")


def test_a_damaged_store_is_not_opened(engine, tmp_path):
    collect_prompts(engine, asked(6), tmp_path)
    manifest = tmp_path / "manifest.json"
    good = manifest.read_bytes()
    for place in range(len(good)):
        manifest.write_bytes(
            good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :]
        )
        with pytest.raises(ValueError, match=r"manifest\.json"):
            FeatureStore(tmp_path)
    manifest.write_bytes(good)
    batch = tmp_path / "prompts-0-4.safetensors"
    content = batch.read_bytes()
    for place in range(0, len(content), 7):
        batch.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        )
        with pytest.raises(ValueError, match=r"prompts-0-4 is missing or was altered"):
            FeatureStore(tmp_path)


FORGED = {
    "another folder": {"parts": ["../prompts-0-6"]},
    "a gap": {"parts": ["prompts-0-4", "prompts-5-6"]},
    "other names": {"parts": ["prompts-0-4", "more-4-6"]},
    "nothing": {"parts": []},
    "another kind": {"kind": "sweep"},
    "no sizes": {"asked": {}},
    "sizes as text": {"asked": {"n_prompts": "6", "n_labels": 3, "widths": [24, 24]}},
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_manifest_with_a_right_checksum_is_refused(engine, tmp_path, change):
    collect_prompts(engine, asked(6), tmp_path)
    forged = replace(Manifest.read(tmp_path), **change)
    (tmp_path / "manifest.json").write_text(forged.text)
    with pytest.raises(ValueError, match=r"not the name of a part|holds no features"):
        FeatureStore(tmp_path)


def test_an_ablated_model_s_store_is_not_taken(engine, tmp_path):
    collect_prompts(engine, asked(6), tmp_path)
    ablated = reader()
    ablated.model.model.layers[0].mlp.down_proj.weight.data[:, 3] = 0
    with pytest.raises(ValueError, match="differs in weights"):
        collect_prompts(ablated, asked(6), tmp_path)


def test_an_altered_batch_is_found_and_computed_again(engine, tmp_path, caplog):
    store = collect_prompts(engine, asked(6), tmp_path)
    path = tmp_path / "prompts-0-4.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ValueError, match="altered"):
        store.verify()
    collect_prompts(engine, asked(6), tmp_path)
    assert "computed again" in caplog.text
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine": lambda: reader(seed=1)}, "weights"),
        ({"prompts": lambda: asked(7)}, "prompts"),
        ({"activations": lambda: True}, "activations"),
        ({"site": lambda: "gate"}, "site"),
    ],
)
def test_another_models_or_requests_store_is_refused(engine, tmp_path, change, said):
    collect_prompts(engine, asked(6), tmp_path)
    given = {"engine": engine, "prompts": asked(6)} | {
        name: make() for name, make in change.items()
    }
    with pytest.raises(ValueError, match=f"another features: it differs in {said}"):
        collect_prompts(given.pop("engine"), given.pop("prompts"), tmp_path, **given)


def test_a_tokenizer_without_letters_is_said_to_be_of_no_use(engine, monkeypatch):
    monkeypatch.setattr(askable, "LETTERS", ("xyz",))
    with pytest.raises(ValueError, match=r"'no' .*use another model"):
        askable.check_labels(engine, asked(2, ("no", "a")))


def test_a_prompt_that_is_too_long_is_refused_before_any_work(engine, tmp_path):
    prompts = asked(9)
    prompts[7] = replace(prompts[7], text="word " * 500)
    with pytest.raises(ValueError, match=r"of 9 prompts, number 7 .*the model allows 2048"):
        collect_prompts(engine, prompts, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_bad_input(engine, tmp_path):
    with pytest.raises(ValueError, match="no prompts"):
        collect_prompts(engine, [], tmp_path)
    with pytest.raises(ValueError, match=r"'no' \(which.*'yes' \(which.*--labels A,B"):
        collect_prompts(engine, asked(2, ("no", "yes")), tmp_path / "labels")
    with pytest.raises(ValueError, match="holds no kept work"):
        FeatureStore(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="activations=True"):
        collect_prompts(engine, asked(2), tmp_path / "plain").activation()


@pytest.mark.parametrize("kind", [PolarProbe, MagnProbe])
def test_light_mode_learns_what_a_store_teaches(engine, tmp_path, kind):
    prompts = asked(12)
    store = collect_prompts(engine, prompts, tmp_path)
    live = LiveScores(engine, prompts)
    from_store, lightly, by_part = (kind(n_neurons=8) for _ in range(3))
    from_store.fit(store, store.gold)
    lightly.fit(live, live.gold)
    for rows, block in live.blocks():
        by_part.partial_fit(block, live.gold[rows])
    for probe in (lightly, by_part):
        np.testing.assert_array_equal(probe.scores_, from_store.scores_)
        np.testing.assert_array_equal(probe.neurons_, from_store.neurons_)
    np.testing.assert_array_equal(lightly.predict(live), from_store.predict(store))
    expected = from_store.accuracy_by_size(store, store.gold)
    assert lightly.accuracy_by_size(live, live.gold) == expected


def test_five_labels_take_ten_bits(engine, tmp_path):
    prompts = asked(4, tuple("abcde"))
    collect_prompts(engine, prompts, tmp_path)
    with safe_open(tmp_path / "prompts-0-4.safetensors", framework="np") as file:
        planes = [file.get_tensor(name) for name in ("codes", "high")]
    assert sum(plane.nbytes for plane in planes) == 4 * 48 * 10 // 8


def test_a_stream_of_chosen_neurons_is_part_of_the_whole(engine):
    prompts = asked(6)
    neurons = np.array([0, 3, 23, 24, 47])
    whole = list(stream(engine, prompts, activations=True))
    some = list(stream(engine, prompts, activations=True, neurons=neurons))
    for few, all_of_them in zip(some, whole, strict=True):
        np.testing.assert_array_equal(few.scores.codes, all_of_them.scores.codes[:, neurons])
        np.testing.assert_array_equal(few.activation, all_of_them.activation[:, neurons])
        np.testing.assert_array_equal(few.probability, all_of_them.probability)
    assert next(stream(engine, prompts)).activation is None


def test_the_stream_starts_where_it_is_told(engine):
    prompts = asked(10)
    rows = [features.rows for features in stream(engine, prompts, first=4)]
    assert rows == [slice(4, 8), slice(8, 10)]
