"""The core works without the optional packages, and says which extra brings one that is missing."""

import os
import subprocess
import sys

import pytest

from tests.hiding import without

OPTIONAL = (
    "matplotlib",
    "sklearn",
    "pyarrow",
    "scipy",
    "accelerate",
    "bitsandbytes",
    "triton",
    "gguf",
    "platformdirs",
)


def run(program: str, tmp_path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", without(OPTIONAL, program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def test_the_core_needs_none_of_them(tmp_path):
    program = """
import numpy as np
from neurgrad import analysis, demo
from neurgrad.cli import main
engine = demo.load("causal")
prompt, target = ["The capital of France is"], ["Paris"]
neurons, _ = engine.gradients(prompt, target).top(3)
assert engine.sweep(prompt, target, neurons, np.linspace(-2, 2, 5)).linear().shape == (1, 3)
assert engine.neg_map(prompt, target).neg.shape == (1, engine.n_layers, engine.n_neurons)
from pathlib import Path
Path("facts.csv").write_text("prompt,answer\\nThe capital of France is,Paris\\n")
words = "sweep --model demo --prompts facts.csv --neurons top:2 --shifts -1:1:1 --output neg.csv"
assert main(words.split()) == 0
assert Path("neg.csv").read_text().count("\\n") == 3
assert main("info --model demo".split()) == 0
"""
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("program", "package", "extra"),
    [
        ("import neurgrad.plots", "matplotlib", "plots"),
        ("import neurgrad.probes", "sklearn", "probes"),
        ("import neurgrad.real", "platformdirs", "real"),
        (
            "import negkernel; negkernel.Engine.from_pretrained('.', gguf_file='a.gguf')",
            "gguf",
            "gguf",
        ),
        ("from neurgrad.analysis.figures import axes; axes('x', 'y')", "matplotlib", "plots"),
    ],
)
def test_a_missing_package_names_its_extra(program, package, extra, tmp_path):
    done = run(program, tmp_path)
    assert f"needs the package {package!r}" in done.stderr.splitlines()[-1]
    assert f"pip install 'negkernel[{extra}]'" in done.stderr


def test_the_command_line_names_it_in_one_line(tmp_path):
    (tmp_path / "facts.feather").write_bytes(b"ARROW1")
    program = """
from neurgrad.cli import main
raise SystemExit(main("sweep --model demo --prompts facts.feather --shifts -1:1:1".split()))
"""
    done = run(program, tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "pip install 'negkernel[parquet]'" in line
