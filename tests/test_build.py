"""The installation: with and without a compiler, what a wheel and an sdist hold."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from negkernel.ops import _ext
from negkernel.version import __version__

ROOT = Path(__file__).resolve().parents[1]

# Builds without isolation: the interpreter that runs the tests has what the build needs, and the
# tests need no network.
BUILD = """
import os, sys
os.chdir(sys.argv[1])
from setuptools import build_meta
print(getattr(build_meta, "build_" + sys.argv[2])(sys.argv[3]))
"""


@pytest.fixture
def source(tmp_path):
    """Return a copy of what git would ship, so that a build writes nothing into the checkout."""
    copy = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


def build(source, kind, out, **environment):
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(source), kind, str(out)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = out.iterdir()
    return archive, done.stdout + done.stderr


def run_without_module(wheel, tmp_path):
    """Import the unpacked wheel, run an op on it, and return what it logs."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        # An editable installation would lend its own compiled module.
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in str(f)];"
        "import torch, negkernel.ops as ops;"
        "x = torch.ones(1, 4); rows = torch.zeros(2, dtype=torch.int64);"
        "[ops.norm(x, torch.ones(2, 4), rows, weight=None, eps=0.0) for _ in range(3)];"
        "print(ops.decisions()['norm']['cpp'], ops.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert "missing" in done.stdout
    return [line for line in done.stderr.splitlines() if "compiled CPU kernels" in line]


def test_without_a_compiler_the_build_warns_and_the_package_works(source, tmp_path):
    wheel, said = build(source, "wheel", tmp_path / "out", CXX=str(tmp_path / "no-such-compiler"))
    assert "CPU kernels of negkernel were not built" in said
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.startswith("negkernel/_C")]
    assert len(run_without_module(wheel, tmp_path)) == 1


def test_the_compiled_module_can_be_left_out(source, tmp_path):
    wheel, _ = build(source, "wheel", tmp_path / "out", NEGKERNEL_NO_EXT="1")
    assert wheel.name == f"negkernel-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"negkernel/py.typed", "neurgrad/py.typed", "negkernel/ops/mlp/cpp.py"} <= names
    shipped = {
        name.removeprefix("python_api/")
        for name in subprocess.run(
            ["git", "ls-files", "python_api/neurgrad/demo/data"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split()
    }
    assert shipped <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "csrc/"))]


def test_a_compiled_wheel_can_be_tagged_for_an_index(source, tmp_path):
    auditwheel = Path(sys.executable).with_name("auditwheel")
    if not auditwheel.exists():
        pytest.skip("auditwheel, of Linux, is not installed")
    wheel, _ = build(source, "wheel", tmp_path / "out")
    command = [str(auditwheel), "repair", "--plat", "auto", "--exclude", "libgomp.so.1"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path / "tagged"), str(wheel)],
        env={**os.environ, "PATH": f"{auditwheel.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (tagged,) = (tmp_path / "tagged").iterdir()
    assert "-manylinux" in tagged.name
    names = zipfile.ZipFile(tagged).namelist()
    assert [name for name in names if name.startswith("negkernel/_C")]
    assert not [name for name in names if "libgomp" in name]


def test_the_sdist_can_build_the_compiled_module(source, tmp_path):
    sdist, _ = build(source, "sdist", tmp_path / "out")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CMakeLists.txt", "setup.py", "csrc/bindings.cpp", "csrc/mlp/mlp_cpu.cpp"} <= names
    listed = {str(path.relative_to(source)) for path in (source / "csrc").rglob("*.*")}
    assert listed <= names


def test_every_instruction_set_is_compiled():
    if _ext.module() is None:
        pytest.skip("negkernel._C is not built")
    assert _ext.isas()[0] == "portable"
    for isa in _ext.isas():
        kernels = getattr(_ext.module(), isa)
        assert all(hasattr(kernels, op) for op in ("attention", "logprob", "mlp", "norm"))
        assert "num_threads" in kernels.mlp.__doc__


def test_one_openmp_runtime():
    if _ext.module() is None:
        pytest.skip("negkernel._C is not built")
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/self/maps, which is Linux")
    # A process of its own: other tests import scikit-learn, which brings a runtime along.
    program = (
        "import torch; from negkernel.ops import _ext; assert _ext.module() is not None; "
        "print(open('/proc/self/maps').read())"
    )
    maps = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    runtimes = {line.split()[-1] for line in maps if "libgomp" in line or "libomp" in line}
    assert len(runtimes) == 1, runtimes
