"""Answers kept prompt by prompt: the same ones, computed once, damaged ones again."""

import copy

import numpy as np
import pytest

from negkernel import Engine, Intervention
from neurgrad import demo
from neurgrad.analysis import answered, estimators, kept, linearity, reproduce
from neurgrad.analysis.kept import Kept

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
    monkeypatch.setattr(kept, "PROMPTS", 2)
    return Kept(plain, tmp_path / "parts")


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
        "same for all": lambda: engine.intervene(prompts, targets, several[0]).logprob_shift,
        "gradients": lambda: engine.gradients(prompts, targets, site="post").cg,
        "path": lambda: engine.path_gradients(prompts, targets, [0.0, 0.5]).cg,
        "direct": lambda: engine.direct_effects(prompts, targets, norm="recomputed"),
    }
    return calls[name]()


CALLS = ["sweep", "own neurons", "intervene", "same for all", "gradients", "path", "direct"]


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
    n_files = len(list(engine._folder.iterdir()))
    assert n_files == 3 * len(CALLS)  # 5 prompts by twos
    prompts, targets = facts
    asked = prompts, targets, NEURONS
    calls = [
        engine.sweep(*asked, SHIFTS, axis="signed"),
        engine.sweep(*asked, [-2.0, 0.5, 2.1]),
        engine.sweep(prompts, targets, NEURONS + np.array([0, 1]), SHIFTS),
        engine.sweep(prompts, [targets[1], *targets[1:]], NEURONS, SHIFTS),
    ]
    files = len(list(engine._folder.iterdir())) - n_files
    assert files == 3 + 3 + 3 + 1
    assert len({call.logprob_shift.tobytes() for call in calls}) == 4


def test_a_damaged_part_is_found_and_computed_again(engine, facts, caplog):
    first = ask(engine, "sweep", facts)
    path = sorted(engine._folder.iterdir())[1]
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)
    np.testing.assert_array_equal(ask(engine, "sweep", facts), first)
    assert "checksum" in caplog.text
    engine.plain = Broken()
    np.testing.assert_array_equal(ask(engine, "sweep", facts), first)


class Counted(Engine):
    """Counts the prompts that are swept, and is interrupted before number ``stop_at``."""

    def __init__(self, plain):
        self.__dict__.update(plain.__dict__)
        self.swept, self.stop_at = [], None

    def sweep(self, prompts, *asked, **how):
        if len(self.swept) == self.stop_at:
            raise KeyboardInterrupt
        self.swept += prompts
        return super().sweep(prompts, *asked, **how)


def test_an_interrupted_study_goes_on_where_it_was(plain, facts, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "PROMPTS", 1)
    engine = Counted(plain)
    options = {"names": ["table1"], "limit": 3}
    engine.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        reproduce(engine, *facts, tmp_path, **options)
    engine.stop_at = None
    reproduce(engine, *facts, tmp_path, **options)
    assert len(engine.swept) == len(set(engine.swept)) == 3
    assert not (tmp_path / "parts").exists()
    known = answered(plain, *facts, limit=3)
    whole = linearity.share(plain, known.prompts, known.targets)
    found = (tmp_path / "table1.csv").read_text().splitlines()[1].split(",")
    np.testing.assert_allclose([float(value) for value in found], whole.iloc[0].astype(float))


def test_a_folder_of_other_weights_is_refused(plain, facts, tmp_path):
    reproduce(plain, *facts, tmp_path, names=["table1"], limit=1)
    edited = copy.deepcopy(plain)
    edited.model.model.layers[0].mlp.up_proj.weight.data += 0.01
    with pytest.raises(ValueError, match="differs in weights"):
        reproduce(edited, *facts, tmp_path, names=["table1"], limit=1)


def test_an_estimator_is_timed_on_the_engine_itself(engine, facts):
    few = [one[:2] for one in facts]
    estimators.scores(engine, *few)
    spent = [estimators.seconds(engine, *few, name) for name in ("NeurGrad", "IG")]
    assert spent[1] > 2 * spent[0] > 0  # 20 steps in every layer against one gradient
