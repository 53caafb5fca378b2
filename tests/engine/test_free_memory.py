"""Scratch heeds the limits of control groups, of both versions, where the kernel sets some."""

import psutil
import pytest
import torch

from negkernel.model.memory import GIB, default_memory_budget, free_memory

MIB = 2**20


def write(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(str(content))
    return root


def group(folder, limit, usage, cache, *, version=2):
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return {
        f"sys/fs/cgroup/{folder}/{names[0]}": f"{limit}\n",
        f"sys/fs/cgroup/{folder}/{names[1]}": f"{usage}\n",
        f"sys/fs/cgroup/{folder}/memory.stat": f"anon 5\n{names[2]} {cache}\nother 7\n",
    }


OWN = {"proc/self/cgroup": "0::/user/job\n"}
OLD = {"proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n"}
CASES = {
    "version 2": ({**OWN, **group("user/job", 100 * MIB, 70 * MIB, 20 * MIB)}, 50 * MIB),
    "a limit above": (
        {**OWN, **group("user", 90 * MIB, 80 * MIB, 0), **group("user/job", "max", 1, 0)},
        10 * MIB,
    ),
    "of its own namespace": ({**OWN, **group("", 100 * MIB, 90 * MIB, 0)}, 10 * MIB),
    "version 1": (
        {**OLD, **group("memory/docker/abc", 64 * MIB, 32 * MIB, 0, version=1)},
        32 * MIB,
    ),
    "version 1, mounted": ({**OLD, **group("memory", 64 * MIB, 60 * MIB, 0, version=1)}, 4 * MIB),
    "over its limit": ({**OWN, **group("user/job", 100 * MIB, 120 * MIB, 0)}, 0),
}


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=CASES)
def test_limits_of_control_groups(files, expected, tmp_path):
    assert free_memory(write(tmp_path, files)) == expected


@pytest.mark.parametrize(
    "files",
    [
        {},
        {**OWN, **group("user/job", "max", 1, 0)},
        {**OWN, **group("user/job", "damaged", 1, 0)},
        {**OLD, **group("memory", 2**63 - 4096, 1, 0, version=1)},
    ],
)
def test_without_a_limit_it_is_what_the_machine_has(files, tmp_path, monkeypatch):
    has = psutil.virtual_memory()._replace(available=12345 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: has)
    assert free_memory(write(tmp_path, files)) == 12345 * MIB


def test_the_budget_is_half_of_that_and_at_most_a_gibibyte(monkeypatch):
    for free, budget in ((3 * GIB, GIB), (GIB, GIB // 2)):
        monkeypatch.setattr("negkernel.model.memory.free_memory", lambda free=free: free)
        assert default_memory_budget(torch.device("cpu")) == budget
