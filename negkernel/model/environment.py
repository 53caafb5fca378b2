"""Name what a result depends on beside what was asked, and compute as an earlier process did."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from negkernel.model.digest import model_digest

if TYPE_CHECKING:
    from negkernel.engine import Engine
    from negkernel.handle import Host

MOST_THREADS = 1024  # torch ends the process where the system cannot start as many


def environment(engine: Engine | Host) -> dict[str, Any]:
    """Return what the last bits of a result depend on, beside what was asked."""
    import transformers

    from negkernel import __version__, ops

    host = _host(engine)
    kernels = {
        op: next((name for name, why_not in choices.items() if why_not is None), "none")
        for op, choices in ops.decisions().items()
    }
    return {
        "negkernel": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": device_name(host.device),
        "kernels": kernels,
        "threads": torch.get_num_threads(),
        "memory_budget": host.budget,
    }


def identity(engine: Engine | Host) -> dict[str, Any]:
    """Return what of an engine every result depends on, whatever is asked."""
    host = _host(engine)
    return {"weights": model_digest(host.model), "operands": str(host.precision.operand)}


@contextmanager
def computing_as(engine: Engine | Host, started: Mapping[str, Any]) -> Iterator[None]:
    """Take over threads and memory budget, on which the sizes of batches depend.

    Parameters
    ----------
    started : mapping
        What :func:`environment` returned when the work began.

    Raises
    ------
    ValueError
        A number that this cannot have returned.
    """
    host = _host(engine)
    threads = _number(started, "threads", MOST_THREADS)
    budget = _number(started, "memory_budget", 1 << 62)
    before = torch.get_num_threads(), host.memory_budget
    torch.set_num_threads(threads)
    host.memory_budget = budget
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        host.memory_budget = before[1]


def device_name(device: torch.device) -> str:
    """Return the name of a device that a reader would recognise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU with {torch.backends.cpu.get_cpu_capability()}"


def _host(engine: Any) -> Host:
    found: Host = getattr(engine, "_host", engine)
    return found


def _number(started: Mapping[str, Any], name: str, most: int) -> int:
    value = started.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} is {value!r} in the manifest; expected 1 to {most}")
    return value
