"""Say what the machine is before anything runs on it: where a first hour goes wrong."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from bench.report import Record, Value

PACKAGES = ("torch", "triton", "transformers", "numpy", "pandas", "safetensors", "bitsandbytes")
VARIABLES = ("CUDA_VISIBLE_DEVICES", "TRITON_CACHE_DIR", "NEGKERNEL_BACKEND", "OMP_NUM_THREADS")
QUERY = (
    "name,driver_version,memory.total,memory.used,clocks.sm,clocks.max.sm,power.limit,"
    "mig.mode.current"
)


def facts(device: str) -> list[Record]:
    """Return the GPU's own facts, versions, compilers and the variables that matter."""
    measures: dict[str, Value] = {"python": platform.python_version(), "cpus": os.cpu_count()}
    measures |= {package: _version(package) for package in PACKAGES}
    measures |= {tool: shutil.which(tool) is not None for tool in ("nvcc", "gcc", "cc")}
    measures |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if torch.device(device).type == "cuda":
        own = torch.cuda.get_device_properties(device)
        measures |= {
            "capability": f"{own.major}.{own.minor}",
            "multiprocessors": own.multi_processor_count,
            "free_gb": torch.cuda.mem_get_info(device)[0] / 1e9,
            "cuda": torch.version.cuda,
        }
        measures |= dict(zip(QUERY.split(","), _smi(), strict=False))
    return [Record("machine", "", measures)]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _smi() -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return [f"nvidia-smi: {error}"]
    return [field.strip() for field in done.stdout.splitlines()[0].split(",")]
