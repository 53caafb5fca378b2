"""``make gpu`` would run: the same script at tiny shapes on the CPU, kernels interpreted."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest

# The benchmarks run from the checkout and are not installed.
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench import gpu_checks, gpu_report
from bench.report import Record

ROOT = Path(__file__).parents[2]


def test_the_script_runs_and_writes_what_it_says(tmp_path):
    pytest.importorskip("triton")
    path = tmp_path / "gpu.csv"
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--dry", "--output", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"gpu", "driver", "torch", "triton", "commit", "kernels"} <= set(rows[0])
    assert list(dict.fromkeys(row["step"] for row in rows)) == [
        *("checks", "sweep tiny", "gradients tiny", "neg_map tiny", "integrated tiny"),
        *("ladder", "kernels"),
    ]
    checked = {row["case"] for row in rows if row["step"] == "checks"}
    assert checked == {"product", "shift", "norm", "attention", "mlp", "logprob"}
    # The engine ran on the kernels that were checked.
    assert "attention=triton" in rows[0]["kernels"]
    measured = {row["measure"]: row["value"] for row in rows}
    assert float(measured["correlation"]) > 0.999
    asked = gpu_report.AT_LEAST.keys() | gpu_report.AT_MOST.keys()
    assert asked | {"of_budget", "of_ceiling", "times_as_fast", "keep"} <= measured.keys()


def test_goals_are_judged_where_they_hold():
    measures = {"of_gemm": 0.7, "scratch_gb": 6.5, "seconds": 1.0, "correlation": math.nan}
    own = Record("norm", "eager", {"ratio": 5.0, "goal": 4.0, "reached": True})
    records = [Record("case", "who", measures), own]
    found = gpu_report.lines("sweep Llama-2-7B", records)
    assert [(line["measure"], line["goal"], line["reached"]) for line in found] == [
        ("of_gemm", ">= 0.6", "yes"),
        ("scratch_gb", "<= 6", "NO"),
        ("seconds", "", ""),
        ("correlation", ">= 0.999", "NO"),  # nothing that is not a number reaches a goal
        ("ratio", ">= 4", "yes"),
    ]
    elsewhere = gpu_report.lines("sweep Llama-3.1-8B", [Record("case", "who", measures)])
    assert {line["reached"] for line in elsewhere} == {""}


def test_every_kernel_that_fails_is_named(monkeypatch):
    def broken(op, head, device, *, large, impl):
        assert op != "norm", "worst at [1, 2]"
        if op == "mlp":
            raise RuntimeError("no such instruction")
        return 0.5

    monkeypatch.setattr(gpu_checks, "check", broken)
    with pytest.raises(AssertionError) as failed:
        gpu_checks.checks("cpu", large=False)
    assert "norm, float32, triton: AssertionError: worst at [1, 2]" in str(failed.value)
    assert "mlp, float32, triton: RuntimeError: no such instruction" in str(failed.value)
    assert "shift" not in str(failed.value)
