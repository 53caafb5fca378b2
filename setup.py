"""Build `negkernel._C` with CMake; everything else is stated in pyproject.toml.

The compiled module is optional. Without a working compiler the build warns and the installation
goes on: `negkernel` then runs its PyTorch and Triton paths and says so in one log line.
`NEGKERNEL_NO_EXT=1` skips the compiled module on purpose, `NEGKERNEL_SANITIZE=1` builds it with
the address and undefined-behaviour sanitizers, `NEGKERNEL_CUDA=1` adds the CUDA kernels, for which
nvcc must be installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SOURCE = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Let CMake build the extension and install it where setuptools expects it."""

    def build_extension(self, ext: Extension) -> None:
        """Configure, build and install; a failure is a CompileError, hence a warning."""
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build_dir = Path(self.build_temp).resolve() / "cmake"
        build_dir.mkdir(parents=True, exist_ok=True)
        try:
            import pybind11

            configure = [
                "cmake",
                f"-S{SOURCE}",
                f"-B{build_dir}",
                f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                f"-DNEGKERNEL_SANITIZE={os.environ.get('NEGKERNEL_SANITIZE', '0')}",
                f"-DNEGKERNEL_CUDA={os.environ.get('NEGKERNEL_CUDA', '0')}",
            ]
            if ninja := shutil.which("ninja"):
                configure += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
            subprocess.run(configure, check=True)
            subprocess.run(["cmake", "--build", str(build_dir), "--parallel"], check=True)
            subprocess.run(
                ["cmake", "--install", str(build_dir), "--prefix", str(target.parent)], check=True
            )
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            raise CompileError(f"the CPU kernels of negkernel were not built: {error}") from error


skip = os.environ.get("NEGKERNEL_NO_EXT") == "1"
setup(
    ext_modules=[] if skip else [Extension("negkernel._C", sources=[], optional=True)],
    cmdclass={"build_ext": CMakeBuild},
)
