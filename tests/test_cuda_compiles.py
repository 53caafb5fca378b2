"""The CUDA kernels compile with the CMake build that users run; more needs a GPU (tests/gpu)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_cuda_build_compiles_and_binds(tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    pybind11 = pytest.importorskip("pybind11")
    ninja = shutil.which("ninja", path=str(Path(sys.executable).parent)) or shutil.which("ninja")
    if ninja is None:
        pytest.skip("ninja is not installed")
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or "cmake"

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(
        *(cmake, f"-S{ROOT}", f"-B{tmp_path}", "-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"),
        *("-DNEGKERNEL_CUDA=1", f"-DPython_EXECUTABLE={sys.executable}"),
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    )
    sources = ("bindings.cpp", "attention/binding.cpp", "logprob/binding.cpp")
    bindings = [f"CMakeFiles/_C.dir/csrc/{source}.o" for source in sources]
    run(cmake, "--build", str(tmp_path), "--target", "kernels_cuda", *bindings)
    for op in ("attention", "logprob"):
        (compiled,) = tmp_path.rglob(f"{op}_cuda.cu.o")
        if cuobjdump := shutil.which("cuobjdump"):
            machine_code = run(cuobjdump, "--list-elf", str(compiled))
            assert "sm_80" in machine_code
            assert "sm_90a" in machine_code
