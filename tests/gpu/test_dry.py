"""``make gpu`` would run: the same script at tiny shapes on the CPU, kernels interpreted."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert {row["step"] for row in rows} == {"checks", "sweep tiny", "kernels"}
    checked = {row["case"] for row in rows if row["step"] == "checks"}
    assert checked == {"shift", "norm", "attention", "mlp", "logprob"}
    # The engine ran on the kernels that were checked.
    assert "attention=triton" in rows[0]["kernels"]
    measured = {row["measure"]: row["value"] for row in rows}
    assert float(measured["correlation"]) > 0.999
    asked = {"of_gemm", "over_full", "scratch_gb", "gradients_over_forward", "of_ceiling"}
    assert asked <= measured.keys()
