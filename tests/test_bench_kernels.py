"""The benchmarks of single ops and of the distance to the machine's ceilings."""

import csv
import sys
import time
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

# The benchmarks run from the checkout and are not installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import __main__ as command
from bench import op_calls
from bench.models import Shape
from bench.opponents import cross_entropy
from bench.roofline import products_share, sweep_flops
from negkernel.ops.norm import reference

app = Typer()
app.command()(command.main)


def run(name, path):
    call = [name, "--quick", "--threads", "1", "--output", str(path)]
    return CliRunner().invoke(app, call)


@pytest.mark.parametrize(
    ("name", "measures", "lines"),
    [
        ("kernels", {"p20_us", "p50_us", "p80_us", "mbytes", "gflop", "of_ceiling"}, 11),
        ("roofline", {"tflop", "of_gemm", "products", "error"}, 2),
    ],
)
def test_a_benchmark_writes_its_columns(tmp_path, name, measures, lines):
    path = tmp_path / "results.csv"
    result = run(name, path)
    assert result.exit_code == 0, result.output
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert measures <= set(rows[0])
    assert len(rows) == lines


def test_a_wrong_kernel_is_never_timed(tmp_path, monkeypatch):
    original = reference.norm

    def off_by_a_row(*args, **options):
        dn = original(*args, **options)
        return dn if dn.dtype == torch.float64 else dn.roll(1, 0)

    monkeypatch.setattr(reference, "norm", off_by_a_row)
    path = tmp_path / "results.csv"
    result = run("kernels", path)
    assert result.exit_code == 1
    assert "eager PyTorch vs float64" in result.output
    assert not path.exists()


def test_cross_entropies_run_where_they_are_installed(tmp_path, monkeypatch):
    """Plain torch in the place of the libraries, which need a GPU."""

    def plain(rows, weight, targets):
        return torch.nn.functional.cross_entropy(rows @ weight.T, targets, reduction="none")

    monkeypatch.setitem(cross_entropy.MINUS_LOGPROB, "Liger-Kernel", plain)
    reasons = {"Liger-Kernel": None, "cut-cross-entropy": "nobody needs it"}
    monkeypatch.setattr(cross_entropy, "why_not", lambda name, _: reasons[name])
    path = tmp_path / "results.csv"
    assert run("kernels", path).exit_code == 0
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["case"].startswith("logprob")]
    liger = next(row for row in rows if row["contestant"] == "Liger-Kernel")
    assert float(liger["p50_us"]) > 0
    assert float(liger["error"]) < 1e-5
    assert "cut-cross-entropy left out: nobody needs it" in rows[0]["note"]

    monkeypatch.setitem(
        cross_entropy.MINUS_LOGPROB, "Liger-Kernel", lambda *call: 1.1 * plain(*call)
    )
    result = run("kernels", path)
    assert result.exit_code == 1
    assert "Liger-Kernel vs float64" in result.output


@pytest.mark.parametrize("name", cross_entropy.MINUS_LOGPROB)
def test_a_library_that_cannot_run_here_says_why(name, monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(cross_entropy, "find_spec", lambda _: None)
    assert "not installed" in cross_entropy.why_not(name, cpu)
    monkeypatch.setattr(cross_entropy, "find_spec", lambda _: object())
    assert "need a GPU" in cross_entropy.why_not(name, cpu)
    assert cross_entropy.why_not(name, torch.device("cuda")) is None


def test_work_is_counted_as_by_hand():
    made = op_calls.calls(
        op_calls.SMALL, rows=10, lengths=[3, 5], device="cpu", head=torch.bfloat16
    )
    work = {call.op: (call.size, call.flops) for call in made}
    H, I, V, D = 48, 80, 300, 12
    assert work["norm"] == (4 * (4 * 10 * H + 2 * H), 0)  # d twice, branch and dn; x
    assert work["mlp"] == (4 * (3 * 10 * I + 2 * 2 * I), 0)  # dgate, dup and dh; gate and up
    # Keys and values, twice a multiplication and an addition, 4 heads, 4 tokens on average.
    assert work["attention"][1] == 2 * 2 * 10 * 4 * D * 4
    assert work["logprob"] == (2 * V * H + 4 * (10 * H + 2 * V), 2 * 10 * V * H)
    shape = Shape(hidden=4, layers=3, heads=2, kv_heads=1, inner=5, vocabulary=7)
    layer = 2 * (4 * 4 * 2 + 2 * 4 * 2 + 3 * 4 * 5) + 2 * 2 * 9 * 4
    one = sweep_flops(shape, torch.tensor([2]), 1, 9)
    assert one == 2 * 4 * 7
    assert sweep_flops(shape, torch.tensor([0, 2]), 10, 9) == 10 * (2 * layer + 2 * one)


@pytest.mark.parametrize("product", [torch.mm, torch.ops.mkldnn._linear_pointwise])
def test_time_that_the_profiler_does_not_see_counts(product):
    a = torch.randn(400, 400)
    more = () if product is torch.mm else (None, "none", [], "")

    def multiply():
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            product(a, a, *more)

    def half():
        multiply()
        time.sleep(0.1)

    multiply()
    whole, part = products_share(multiply, "cpu"), products_share(half, "cpu")
    assert 0.5 < whole <= 1
    assert 0.3 * whole < part < 0.7 * whole
