"""``make gpu`` would run: the same script at tiny shapes on the CPU, kernels interpreted."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# The benchmarks run from the checkout and are not installed.
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.gpu import __main__ as gpu_run
from bench.gpu import checks as gpu_checks
from bench.gpu import report as gpu_report
from bench.gpu import steps as gpu_steps
from bench.gpu.profile import busy_time
from bench.report import Record
from negkernel import ops
from negkernel.ops import dispatch
from tests.hiding import without

ROOT = Path(__file__).parents[2]


# What a machine with PyTorch, transformers and Triton need not have.
ABSENT = ("typer", "rich", "pandas", "matplotlib", "sklearn", "accelerate", "peft", "torchao")


def bare(arguments, folder):
    """Run the script as on a machine that has nothing of ours installed, nor a terminal kit."""
    program = f"""
import runpy
# An editable installation would lend its packages.
sys.meta_path[:] = [finder for finder in sys.meta_path if "ditable" not in str(finder)]
sys.argv[1:] = {arguments!r}
runpy.run_module("bench.gpu", run_name="__main__", alter_sys=True)
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", without(ABSENT, program)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_runs_from_a_bare_checkout_and_writes_what_it_says(tmp_path):
    pytest.importorskip("triton")
    path = tmp_path / "gpu.csv"
    done = bare(["--dry", "--output", str(path)], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"gpu", "torch", "commit", "kernels"} <= set(rows[0])
    assert list(dict.fromkeys(row["step"] for row in rows)) == [
        *("facts", "checks", "sweep tiny", "gradients tiny", "neg_map tiny", "profile tiny"),
        *("integrated tiny", "neg_map tiny sharp", "ladder", "kernels"),
    ]
    facts = {row["measure"]: row["value"] for row in rows if row["step"] == "facts"}
    assert {"python", "torch", "triton", "transformers"} <= facts.keys()
    checked = {row["case"] for row in rows if row["step"] == "checks"}
    assert checked == {"product", "shift", "norm", "attention", "mlp", "logprob"}
    # The engine ran on the kernels that were checked.
    assert "attention=triton" in rows[0]["kernels"]
    measured = {row["measure"]: row["value"] for row in rows}
    assert float(measured["correlation"]) > 0.999
    asked = gpu_report.AT_LEAST.keys() | gpu_report.AT_MOST.keys()
    more = {"of_budget", "of_ceiling", "times_as_fast", "keep", "idle", "cold_map_s", "launches"}
    assert asked | more <= measured.keys()


def test_without_a_gpu_it_says_so_in_one_line(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert gpu_run.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no GPU here" in line


def step(found):
    def run():
        if isinstance(found, Exception):
            raise found
        return found

    return gpu_steps.Step(run, room=0.0)


def test_a_step_that_fails_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    plan = {
        "facts": step([Record("machine", "", {"python": "3"})]),
        "sweep": step(torch.OutOfMemoryError("not enough")),
        "gradients": step(KeyError("x")),
        "neg_map": step([Record("case", "who", {"map_s": 1.0})]),
        "ladder": gpu_steps.Step(list, room=1e9),
    }
    monkeypatch.setattr(gpu_steps, "steps", lambda device, dry: plan)
    path = tmp_path / "gpu.csv"
    assert gpu_run.run(True, [], path, 60.0) == ["sweep", "gradients"]
    with path.open(newline="") as file:
        rows = {row["step"]: row for row in csv.DictReader(file)}
    assert rows["sweep"]["note"] == "OutOfMemoryError: not enough"
    assert rows["gradients"]["case"] == "failed"
    assert rows["neg_map"]["value"] == "1"
    assert rows["ladder"]["case"] == "left out"
    path.unlink()
    assert not gpu_run.run(True, ["neg_map"], path, 60.0)
    with path.open(newline="") as file:
        rows = {row["step"]: row for row in csv.DictReader(file)}
    assert rows["facts"]["case"] == "machine"
    assert rows["sweep"]["case"] == "not asked for"


def test_kernels_that_hang_or_crash_are_named():
    commands = [
        [sys.executable, "-c", "print(0.25)"],
        [sys.executable, "-c", "import time; time.sleep(60)"],
        [sys.executable, "-c", "raise SystemExit('no such instruction')"],
        [sys.executable, "-c", "import os; os.abort()"],
    ]
    todo = [("norm", "float32", name) for name in ("good", "slow", "bad", "dead")]
    good, slow, bad, dead = gpu_checks.side_by_side(todo, commands, limit=3.0)
    assert good == 0.25
    assert slow == "norm, float32, slow: no answer within 3 s"
    assert bad == "norm, float32, bad: ended with status 1: no such instruction"
    assert "dead: ended with status -6" in dead


def test_busy_time_counts_what_overlaps_once():
    assert busy_time([(0, 2), (1, 3), (5, 6), (5.5, 5.6)]) == 4


def test_goals_are_judged_where_they_hold():
    measures = {"of_gemm": 0.8, "scratch_gb": 6.5, "seconds": 1.0, "correlation": math.nan}
    own = Record("norm", "eager", {"ratio": 5.0, "goal": 4.0, "reached": True})
    records = [Record("case", "who", measures), own]
    found = gpu_report.lines("sweep Llama-2-7B", records)
    assert [(line["measure"], line["goal"], line["reached"]) for line in found] == [
        ("of_gemm", ">= 0.75", "yes"),
        ("scratch_gb", "<= 6", "NO"),
        ("seconds", "", ""),
        ("correlation", ">= 0.999", "NO"),  # nothing that is not a number reaches a goal
        ("ratio", ">= 4", "yes"),
    ]
    elsewhere = gpu_report.lines("sweep Llama-3.1-8B", [Record("case", "who", measures)])
    assert {line["reached"] for line in elsewhere} == {""}


def test_every_kernel_that_fails_is_named_and_replaced(monkeypatch):
    def broken(op, head, device, *, large, impl):
        assert op != "norm", "worst at [1, 2]"
        if op == "mlp":
            raise RuntimeError("no such instruction")
        return 0.5

    monkeypatch.setattr(gpu_checks, "check", broken)
    monkeypatch.setattr(dispatch, "_off", {})
    found = {record.case: record for record in gpu_checks.checks("cpu", large=False)}
    assert "norm, float32, triton: AssertionError: worst at [1, 2]" in found["norm"].note
    assert "mlp, float32, triton: RuntimeError: no such instruction" in found["mlp"].note
    assert found["shift"].measures == {"operands": "float32", "of_budget": 0.5}
    assert "no such instruction" in ops.decisions()["mlp"]["triton"]
    x = torch.ones(1, 4)
    index = torch.zeros(2, dtype=torch.int64)
    ops.norm(x, torch.ones(2, 4), index, weight=None, eps=1e-6)  # the others still run
    with pytest.raises(ValueError, match="cannot be switched off"):
        ops.switch_off("norm", "reference", "no")
