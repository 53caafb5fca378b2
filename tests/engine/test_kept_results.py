"""Results that are kept in a folder: the bits of one process, read a few prompts at a time."""

import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from negkernel import Directions, Engine, Gradients, NegMap, Sweep
from negkernel.results import DirectionGradients, shards

P = 20
NEURONS = [[0, 3], [2, 1], [1, 23], [0, 0], [1, 5]]
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "vocab_size": 32}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}


def model(seed=0, **sizes):
    torch.manual_seed(seed)
    config = LlamaConfig(**{**SIZES, **HEADS, **sizes}, initializer_range=0.3)
    return LlamaForCausalLM(config).eval()


def asked(n=P, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 32, size).tolist() for size in rng.integers(1, 9, n)]


def directions(seed=0):
    rng = np.random.default_rng(seed)
    return Directions([2, 0, 2, 1], rng.normal(size=(4, 16)))


PROMPTS = asked()
TWO = [[3, 4]] * P
QUESTIONS = {
    "sweep": (Sweep, lambda e, **k: e.sweep(PROMPTS, TWO, NEURONS, [-2, 1, 2], **k)),
    "all metrics": (
        Sweep,
        lambda e, **k: e.sweep(
            PROMPTS, [7] * P, [NEURONS[: 1 + 4]] * P, [-2, 1], metrics=("kl", "rank"), **k
        ),
    ),
    "spectral": (
        Sweep,
        lambda e, **k: e.sweep(
            PROMPTS, TWO, NEURONS, np.linspace(-2, 2, 9), resolution="spectral", **k
        ),
    ),
    "mean ablation": (
        Sweep,
        lambda e, **k: e.sweep(PROMPTS, TWO, NEURONS, axis="mean_ablation", **k),
    ),
    "gradients": (Gradients, lambda e, **k: e.gradients(PROMPTS, TWO, **k)),
    "all positions": (
        Gradients,
        lambda e, **k: e.gradients(PROMPTS, [7] * P, position="all", log=True, **k),
    ),
    "directions": (
        Sweep,
        lambda e, **k: e.sweep(PROMPTS, TWO, directions(), [-2, 2], **k),
    ),
    "along directions": (
        DirectionGradients,
        lambda e, **k: e.gradients(PROMPTS, TWO, directions(), **k),
    ),
    "map": (NegMap, lambda e, **k: e.neg_map(PROMPTS[:3], TWO[:3], **k)),
}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "MOST_ROWS", 8)
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    monkeypatch.setattr(shards, "MOST_PROMPTS", 6)
    monkeypatch.setattr("negkernel.spectral.neg_map.CURVES", 24)


@pytest.fixture(scope="module")
def engine():
    return Engine(model())


def assert_equal(found, expected, atol=0.0):
    for field in fields(expected):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), field.name
            np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=field.name)
        else:
            assert a == b, field.name


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("prompts-*.safetensors")}


@pytest.mark.parametrize(("kind", "ask"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_kept_result_is_that_of_a_plain_call_and_is_read_by_portions(engine, tmp_path, kind, ask):
    plain, kept = ask(engine), ask(engine, folder=tmp_path / "kept", progress=False)
    assert repr(kept).startswith(f"{kind.__name__}({len(plain.prompts)} prompts, kept in ")
    # Batches have other sizes: the last bits of float32 log-probs and of what follows from them.
    assert_equal(kept, plain, atol=0 if kind is NegMap else 2e-5)
    opened = kind.open(tmp_path / "kept")
    assert len(opened) > 2
    portions = list(opened)
    assert [text for one in portions for text in one.prompts] == plain.prompts
    for name in (
        "target_ids",
        "activation",
        "prob" if issubclass(kind, Gradients) else "base_logprob",
    ):
        own = np.concatenate([getattr(one, name) for one in portions])
        assert own.tobytes() == getattr(kept, name).tobytes()
    assert_equal(opened[-1], portions[-1])
    kept.save(tmp_path / "whole.safetensors")
    assert_equal(kind.load(tmp_path / "whole.safetensors"), kept)


@pytest.mark.parametrize("name", ["sweep", "gradients", "mean ablation"])
def test_an_interrupted_one_goes_on_with_the_same_bits(engine, tmp_path, monkeypatch, name):
    kind, ask = QUESTIONS[name]
    whole = ask(engine, folder=tmp_path / "whole")
    save, saved = kind.save, []

    def stop(result, path):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(path)
        save(result, path)

    folder = tmp_path / "cut"
    monkeypatch.setattr(kind, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        ask(engine, folder=folder)
    monkeypatch.setattr(kind, "save", save)
    before = stamps(folder)
    assert len(before) == 2
    with pytest.raises(ValueError, match=r"holds 2 of \d+ portions: .* ask the same again"):
        kind.open(folder)
    assert_equal(ask(engine, folder=folder), whole)
    assert before.items() <= stamps(folder).items()


def test_a_damaged_portion_is_named_and_computed_again(engine, tmp_path):
    kind, ask = QUESTIONS["gradients"]
    expected = ask(engine, folder=tmp_path)
    cg = expected.cg.tobytes()
    before = stamps(tmp_path)
    path = tmp_path / sorted(before)[1]
    path.write_bytes(path.read_bytes()[:-4] + b"1234")
    read = []
    with pytest.raises(ValueError, match=rf"{path.name} .* altered; ask the same again"):
        read.extend(kind.open(tmp_path))
    assert ask(engine, folder=tmp_path).cg.tobytes() == cg
    after = stamps(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {path.name}


def test_a_folder_of_something_else_is_refused(engine, tmp_path):
    QUESTIONS["sweep"][1](engine, folder=tmp_path)
    others = {
        "differs in neurons": lambda: engine.sweep(
            PROMPTS, TWO, NEURONS[::-1], [-2, 1, 2], folder=tmp_path
        ),
        "differs in shifts": lambda: engine.sweep(
            PROMPTS, TWO, NEURONS, [-2, 1, 3], folder=tmp_path
        ),
        "differs in target_ids": lambda: engine.sweep(
            PROMPTS, [*TWO[1:], [5, 6]], NEURONS, [-2, 1, 2], folder=tmp_path
        ),
        "differs in weights": lambda: QUESTIONS["sweep"][1](Engine(model(1)), folder=tmp_path),
        "differs in directions, neurons|differs in neurons": lambda: engine.sweep(
            PROMPTS, TWO, directions(), [-2, 1, 2], folder=tmp_path
        ),
        "holds sweep, not gradients": lambda: engine.gradients(PROMPTS, TWO, folder=tmp_path),
        "holds sweep, not NEG map": lambda: NegMap.open(tmp_path),
        "holds no kept work": lambda: NegMap.open(tmp_path / "nowhere"),
    }
    for words, ask in others.items():
        with pytest.raises(ValueError, match=words):
            ask()


def test_memory_does_not_grow_with_prompts(tmp_path, monkeypatch):
    """Eight times the prompts: the arrays would take eight times the bytes in memory."""
    monkeypatch.setattr(shards, "MOST_PROMPTS", 16)
    engine = Engine(model(intermediate_size=512))
    peaks = {}
    for n in (32, 256):
        prompts = asked(n)
        tracemalloc.start()
        kept = engine.gradients(prompts, [[3, 4]] * n, folder=tmp_path / str(n))
        total = sum(float(np.abs(one.cg).sum()) for one in Gradients.open(tmp_path / str(n)))
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total > 0
        assert len(kept.prompts) == n
    result = 256 * 3 * 3 * 512 * 4
    assert peaks[256] - peaks[32] < result / 10


def test_what_is_in_memory_has_no_folder(engine):
    found = engine.gradients(PROMPTS[:1], [3])
    assert found.kept_in is None
    assert "layers" in repr(found)
    with pytest.raises(AttributeError, match="'Gradients' object has no attribute 'nothing'"):
        _ = found.nothing
