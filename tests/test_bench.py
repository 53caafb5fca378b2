"""The benchmarks run, write what they say they write, and refuse to time a wrong contestant."""

import csv

import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from bench import __main__ as command
from bench import load, masked, registry, sweep
from bench.contest import Contestant, agree, contest
from bench.models import TINY, draws, random_llama
from bench.opponents.expert import Expert
from bench.opponents.expert_masked import MaskedExpert
from bench.opponents.full_softmax import full_softmax, last_states
from bench.opponents.hooks import hooks_rows
from bench.opponents.masked_hooks import masked_hooks_rows
from bench.opponents.reference_gradients import reference_gradients
from bench.opponents.stepwise_gradients import stepwise_gradients
from bench.report import Record, append, provenance
from negkernel import Engine
from negkernel.testing.timing import Timing, interleave
from neurgrad.attribution import integrated_gradients, lpi

ORIGIN = {"date", "commit", "cpu", "threads", "gpu", "negkernel", "torch", "transformers"}
app = Typer()
app.command()(command.main)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("arguments", "measures", "contestants"),
    [
        (["sweep"], {"p20_s", "p50_s", "p80_s", "repeats", "rows_per_s", "ratio", "error"}, 17),
        (["gradients"], {"p20_s", "p50_s", "p80_s", "repeats", "ratio", "error"}, 6),
        (["fidelity"], {"correlation", "signs", "neurgrad", "autograd", "seconds"}, 33),
        (["curvature"], {"in_activations", "correlation", "gap", "linear"}, 24),
        (["patching"], {"correlation", "signs", "found_of_10", "median_error"}, 1),
        (["autoencoder"], {"linear", "correlation", "signs", "top_shift", "top_predicted"}, 2),
        (["masked"], {"p50_s", "ratio", "error", "peak_gb", "peak_goal_gb"}, 4),
        (["attribution"], {"p50_s", "ratio", "error", "peak_gb", "peak_goal_gb"}, 6),
        (["collection"], {"p50_s", "ratio", "error"}, 4),
        (["ranking"], {"p50_s", "ratio", "error"}, 5),
        (["generic"], {"p50_s", "ratio", "error"}, 12),
        (["peers"], {"cpu_s", "wall_s", "ratio", "peak_mb", "lines", "error"}, 68),
        (["start"], {"megabytes", "spared_mb", "seconds", "goal"}, 5),
        (["plan"], {"predicted_s", "seconds", "ratio", "within"}, 8),
        (["scale"], {"rows_per_s", "ratio", "passes", "read_gb"}, 6),
        (["spectral"], {"neg_within_tol", "honest", "rows_a_neuron", "within_stated"}, 3),
        (["sweep", "--rows", "1600"], {"peak_gb", "rows_per_s"}, 1),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_a_benchmark_writes_its_columns(tmp_path, arguments, measures, contestants):
    path = tmp_path / "new" / "results.csv"
    call = [*arguments, "--quick", "--threads", "1", "--output", str(path)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ORIGIN | measures | {"case", "contestant", "note"} <= set(rows[0])
    assert len(rows) == contestants
    for row in rows:
        assert row["contestant"] in result.output.replace("\n", "")
        assert None not in row


def test_load_is_measured_in_a_process_that_waits_as_told(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "POLICIES", {"threads that spin": {"OMP_WAIT_POLICY": "passive"}})
    path = tmp_path / "results.csv"
    result = CliRunner().invoke(app, ["load", "--quick", "--threads", "1", "--output", str(path)])
    assert result.exit_code == 0, result.output
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["sweep", "gradients"]
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["seconds"]) / float(row["alone_s"]))


def test_a_wrong_contestant_is_never_timed(monkeypatch, tmp_path):
    def broken(*args):
        return -hooks_rows(*args)

    monkeypatch.setattr(sweep, "hooks_rows", broken)
    path = tmp_path / "results.csv"
    call = ["sweep", "--quick", "--threads", "1", "--output", str(path)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 1
    assert "disagree" in result.output
    assert "ratio" not in result.output
    assert not path.exists()


@pytest.mark.parametrize("wrong", [np.nan, 1.01, -1.0, 0.0])
def test_the_gate_names_who_disagrees(wrong):
    true = np.array([0.5, 1.0, -0.25])
    false = true.copy()
    false[1] = wrong
    with pytest.raises(AssertionError, match="late vs slow"):
        agree({"slow": true, "early": true.copy(), "late": false}, "slow", budget=1e-3)
    errors = agree({"slow": true, "early": true + 5e-4, "plain": None}, "slow", budget=1e-3)
    assert errors == {"early": pytest.approx(5e-4)}
    with pytest.raises(AssertionError, match="early vs slow"):
        agree({"slow": true, "early": true + 5e-4}, "slow", 1e-3, own={"early": 1e-4})


def test_part_of_the_work_is_scaled():
    values = np.ones(3)
    clock = iter(range(100))

    def work(steps):
        def run(_):
            for _ in range(steps):
                next(clock)
            return values.copy()

        return run

    whole, part = Contestant("a", work(0)), Contestant("b", work(0), work=0.1, goal=1e9)
    records = contest(
        "case", [whole, part], [0, 1, 2], truth="a", budget=0.0, rows=10, device="cpu"
    )
    assert [record.measures["repeats"] for record in records] == [2, 2]
    assert records[1].measures["reached"] is False


def test_contestants_take_turns():
    calls = []
    runs = {name: lambda one, name=name: calls.append((name, one)) for name in "ab"}
    times = interleave(runs, [1, 2, 3])
    assert calls == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]
    assert len(times["a"].seconds) == 3
    # A slow round of the machine slows both: the ratio is taken round by round.
    assert Timing((1.0, 10.0, 1.0)).over(Timing((2.0, 20.0, 2.0))) == 0.5
    assert Timing((1.0, 2.0, 6.0)).scaled(2.0).p50 == 4.0


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "results.csv"
    origin = provenance("cpu")
    append(path, [Record("case", "one", {"seconds": 1.0})], origin)
    append(path, [Record("case", "two", {"seconds": None})], origin)
    with pytest.raises(ValueError, match="choose another --output"):
        append(path, [Record("case", "three", {"hours": 1.0})], origin)
    with path.open(newline="") as file:
        assert [row["seconds"] for row in csv.DictReader(file)] == ["1.0", ""]


def test_rows_belongs_to_sweep():
    result = CliRunner().invoke(app, ["gradients", "--rows", "10"])
    assert result.exit_code == 2
    assert set(registry.BENCHMARKS) == set(command.Name)


def test_opponents_find_the_truth_in_float64():
    """An opponent that is wrong or weak makes any ratio worthless."""
    model = random_llama(TINY, dtype=torch.float64)
    layers = torch.tensor([0, 1, 2, 2, 3])
    draw = next(draws(TINY, prompts=1, tokens=9, targets=3, layers=layers))
    shifts = torch.linspace(-3, 3, 8, dtype=torch.float64)
    sweep = Engine(model).sweep(
        draw.prompts, [draw.targets[0][0]], draw.neurons.numpy(), shifts.numpy(), method="full"
    )
    expected = sweep.logprob_shift[0]
    scale = np.abs(expected).max()
    hooks = hooks_rows(
        model,
        draw.tokens,
        draw.targets[0][0],
        draw.neurons.repeat_interleave(8, 0),
        shifts.repeat(5),
    )
    assert np.abs(hooks.view(5, 8).numpy() - expected).max() < 1e-6 * scale
    for rows, head_rows in ((3, 2), (64, 64)):
        recipe = Expert(model, rows, head_rows)
        for one in (recipe, MaskedExpert(recipe, 2), MaskedExpert(recipe, 64)):
            change = one.sweep(draw.tokens, draw.targets[0][0], draw.neurons, shifts)
            # transformers' norms round to float32 also in a float64 model
            assert np.abs(change.numpy() - expected).max() < 1e-4 * scale
    cg = reference_gradients(model, draw.tokens, draw.targets[0])
    true = Engine(model).gradients(draw.prompts, draw.targets, method="full").cg[0]
    assert np.abs(cg.numpy() - true).max() < 1e-6 * np.abs(true).max()


def test_opponents_of_attributions_find_the_truth_in_float64():
    model = random_llama(TINY, dtype=torch.float64)
    none = torch.empty(0, dtype=torch.int64)
    draw = next(draws(TINY, prompts=1, tokens=9, targets=1, layers=none))
    layers = list(range(TINY.layers))
    engine = Engine(model)
    request = draw.prompts, [draw.target]

    found = stepwise_gradients(model, draw.tokens, draw.target, layers, 5).numpy()
    true = integrated_gradients(engine, *request, steps=5, method="full")[0]
    assert np.abs(found - true).max() < 1e-6 * np.abs(true).max()

    states = last_states(model, draw.tokens)
    increase = full_softmax(model, states, draw.target, layers).numpy()
    exact = lpi(engine, *request)[0]
    assert np.abs(increase - exact).max() < 1e-4 * np.abs(exact).max()


def test_the_opponent_of_masked_sweeps_finds_the_truth_in_float64():
    model = masked.random_bert(masked.TINY, "cpu").double()
    draw = next(masked.masked_draws(masked.TINY, torch.arange(4)))
    assert draw.tokens.count(masked.MASK) == 1
    engine = Engine(model, masked.MaskToken())
    shifts = np.array([-3.0, 2.0])
    sweep = engine.sweep(
        draw.prompts, [draw.target], draw.neurons.numpy(), shifts, method="full"
    ).logprob_shift[0]
    rows = draw.neurons.repeat_interleave(2, 0), torch.from_numpy(shifts).repeat(4)
    hooks = masked_hooks_rows(model, draw.tokens, masked.POSITION, draw.target, *rows)
    assert np.abs(hooks.view(4, 2).numpy() - sweep).max() < 1e-6 * np.abs(sweep).max()
