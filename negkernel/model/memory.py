"""Measure how much memory an engine may take beside its model."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

GIB = 1024**3
# Where a control group says its limit, what it holds, and which part of that it would give back.
_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def default_memory_budget(device: torch.device) -> int:
    """Bytes of scratch: half of what is free, but no more than keeps the device busy.

    One GiB on a CPU. Six on a GPU, which wants thousands of rows at once: one GiB would hold 1,400
    rows of a 7B model.
    """
    if device.type == "cuda":
        return min(6 * GIB, torch.cuda.mem_get_info(device)[0] // 2)
    return min(GIB, free_memory() // 2)


def free_memory_of(device: torch.device) -> int:
    """Bytes that tensors on ``device`` may still take."""
    if device.type != "cuda":
        return free_memory()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may still take: the machine's, or what its control groups leave.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    rooms = [room for files in _FILES for room in _cgroup_rooms(root, *files)]
    return max(0, min([psutil.virtual_memory().available, *rooms]))


def _cgroup_rooms(root: Path, controller: str, limit: str, usage: str, cache: str) -> list[int]:
    """What each control group above this process leaves; [] where none has a limit."""
    mount = root / "sys/fs/cgroup" / controller
    folder = mount / _own_group(root, controller).lstrip("/")
    rooms = []
    for group in (folder, *folder.parents):
        try:
            most = (group / limit).read_text().strip()
            held = int((group / usage).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            if most != "max":
                rooms.append(int(most) - held + int(stat.get(cache, 0)))
        except (OSError, ValueError):
            pass  # a container often sees no more than the files of its own group, at the mount
        if group == mount:
            break
    return rooms


def _own_group(root: Path, controller: str) -> str:
    """Path of this process's group, from lines such as ``4:memory:/user/7`` or ``0::/user/7``."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return ""
