"""Answers kept prompt by prompt: the same ones, computed once, damaged ones again."""

import copy
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from negkernel import Engine, Intervention
from negkernel.model.environment import environment
from negkernel.results.ledger import at_work
from negkernel.results.manifest import Manifest
from neurgrad import demo
from neurgrad.analysis import PromptStudy, answered, cached_engine, linearity, reproduce
from neurgrad.analysis.cached_engine import CachedEngine

SHIFTS = [-2.0, 0.5, 2.0]
NEURONS = np.array([[0, 3], [4, 200]])


@pytest.fixture(scope="module")
def plain():
    return demo.load("causal")


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(5, random_state=3)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.fixture
def engine(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(cached_engine, "PROMPTS", 2)
    answers = Manifest.of("answers", {"model": "demo"}, environment(plain), None)
    with at_work(tmp_path / "parts", answers) as ledger:
        yield CachedEngine(plain, ledger)


def files(engine):
    """Kept answers, in order."""
    return sorted(engine._ledger.folder.glob("*.safetensors"))


class Broken:
    """Stands for an engine that must not be asked."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was computed again")


def ask(engine, name, facts):
    """One of the kept calls, as an array."""
    prompts, targets = facts
    own = np.stack([NEURONS + np.array([0, p]) for p in range(len(prompts))])
    several = [[Intervention(own[p], [0.5, 1.0 + p])] for p in range(len(prompts))]
    calls = {
        "sweep": lambda: engine.sweep(prompts, targets, NEURONS, SHIFTS).logprob_shift,
        "own neurons": lambda: (
            engine.sweep(
                prompts, targets, own, SHIFTS, axis="signed", resolution="spectral"
            ).logprob_shift
        ),
        "intervene": lambda: engine.intervene(prompts, targets, several).logprob_shift,
        "signs": lambda: (
            engine.intervene(
                prompts, targets, [replace(several[0][0], signs="baseline")]
            ).logprob_shift
        ),
        "same for all": lambda: engine.intervene(prompts, targets, several[0]).logprob_shift,
        "gradients": lambda: engine.gradients(prompts, targets, site="post").cg,
        "path": lambda: engine.path_gradients(prompts, targets, [0.0, 0.5]).cg,
        "direct": lambda: engine.direct_effects(prompts, targets, norm="recomputed"),
    }
    return calls[name]()


CALLS = [
    "sweep",
    "own neurons",
    "intervene",
    "signs",
    "same for all",
    "gradients",
    "path",
    "direct",
]


@pytest.mark.parametrize("name", CALLS)
def test_answers_are_those_of_the_engine_and_computed_once(engine, facts, name):
    expected = ask(engine.plain, name, facts)
    largest = np.abs(expected).max()
    # Other prompts share a batch: float32 products of another shape.
    np.testing.assert_allclose(ask(engine, name, facts), expected, rtol=0, atol=1e-5 * largest)
    first = ask(engine, name, facts)
    engine.plain = Broken()
    np.testing.assert_array_equal(ask(engine, name, facts), first)


def test_different_questions_have_different_answers(engine, facts):
    for name in CALLS:
        ask(engine, name, facts)
    n_files = len(files(engine))
    assert n_files == 3 * len(CALLS)  # 5 prompts by twos
    prompts, targets = facts
    asked = prompts, targets, NEURONS
    calls = [
        engine.sweep(*asked, SHIFTS, axis="signed"),
        engine.sweep(*asked, [-2.0, 0.5, 2.1]),
        engine.sweep(prompts, targets, NEURONS + np.array([0, 1]), SHIFTS),
        engine.sweep(prompts, [targets[1], *targets[1:]], NEURONS, SHIFTS),
    ]
    assert len(files(engine)) - n_files == 3 + 3 + 3 + 1
    assert len({call.logprob_shift.tobytes() for call in calls}) == 4


def test_a_damaged_part_is_found_and_computed_again(engine, facts, caplog):
    first = ask(engine, "sweep", facts)
    engine._ledger._whole.clear()  # as a new process has it
    path = files(engine)[1]
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)
    np.testing.assert_array_equal(ask(engine, "sweep", facts), first)
    assert "computed again" in caplog.text
    engine.plain = Broken()
    np.testing.assert_array_equal(ask(engine, "sweep", facts), first)


class Counted(Engine):
    """Counts the prompts that are swept, and is interrupted before number ``stop_at``."""

    def __init__(self, plain):
        self.__dict__.update(plain.__dict__)
        self.swept, self.stop_at = [], None

    def sweep(self, prompts, *asked, **how):
        if how.get("resolution") != "spectral":  # a look at ranks
            return super().sweep(prompts, *asked, **how)
        if len(self.swept) == self.stop_at:
            raise KeyboardInterrupt
        self.swept += prompts
        return super().sweep(prompts, *asked, **how)


def test_an_interrupted_study_goes_on_where_it_was(plain, facts, tmp_path, monkeypatch):
    monkeypatch.setattr(cached_engine, "PROMPTS", 1)
    engine = Counted(plain)
    options = {"names": ["table1"], "limit": 3}
    engine.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        reproduce(engine, *facts, tmp_path, **options)
    engine.stop_at = None
    reproduce(engine, *facts, tmp_path, **options)
    assert len(engine.swept) == len(set(engine.swept)) == 3
    assert not (tmp_path / "parts").exists()
    whole = linearity.share(PromptStudy(plain, answered(plain, *facts, limit=3)))
    (found,) = pd.read_csv(tmp_path / "table1.csv").to_dict("records")
    assert (found.pop("site"), found.pop("axis")) == ("up", "magnitude")
    assert (found.pop("shift_low"), found.pop("shift_high")) == (-2.0, 2.0)
    assert found == pytest.approx(whole.iloc[0].to_dict())


def test_a_folder_of_other_weights_is_refused(plain, facts, tmp_path):
    reproduce(plain, *facts, tmp_path, names=["table1"], limit=1)
    edited = copy.deepcopy(plain)
    edited.model.model.layers[0].mlp.up_proj.weight.data += 0.01
    with pytest.raises(ValueError, match="differs in weights"):
        reproduce(edited, *facts, tmp_path, names=["table1"], limit=1)


KILLED = """
import os, signal, sys
from neurgrad import demo
from neurgrad.analysis import cached_engine, reproduce
from negkernel.results import storage
cached_engine.PROMPTS = 1
write, written = storage.write, []
def stop(*asked):
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*asked)
    written.append(asked)
storage.write = stop
facts = demo.prompts("causal").sample(5, random_state=3)
reproduce(demo.load("causal"), facts["prompt"].tolist(), facts["answer"].tolist(), sys.argv[1],
          names=["table1"], limit=3)
"""


def test_a_killed_study_ends_with_the_same_bytes(plain, facts, tmp_path, monkeypatch):
    monkeypatch.setattr(cached_engine, "PROMPTS", 1)
    folder = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((folder / "parts").glob("*.json"))) == 2 + 1  # two answers, a manifest
    edited = copy.deepcopy(plain)
    edited.model.model.layers[2].mlp.down_proj.weight.data[:, 4] = 0
    with pytest.raises(ValueError, match="differs in weights"):
        reproduce(edited, *facts, folder, names=["table1"], limit=3)
    reproduce(plain, *facts, folder, names=["table1"], limit=3)
    reproduce(plain, *facts, tmp_path / "whole", names=["table1"], limit=3)
    names = {path.name for path in folder.iterdir()}
    written = {"table1.csv", "table1.png", "table1.json", "index.html", "study.json"}
    assert names == {"manifest.json", "tables"} | written
    for name in ("table1.csv", "table1.json", "tables/random.parquet"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_damaged_artefact_is_computed_again(plain, facts, tmp_path, caplog):
    reproduce(plain, *facts, tmp_path, names=["table1"], limit=1)
    for name in ("table1.csv", "table1.png"):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[:-3] + b"9\n9")
        reproduce(plain, *facts, tmp_path, names=["table1"], limit=1)
        assert (tmp_path / name).read_bytes() == good
        assert "table1.csv was altered" in caplog.text
        caplog.clear()
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match=r"manifest\.json was damaged.*to start again"):
        reproduce(plain, *facts, tmp_path, names=["table1"], limit=1)
