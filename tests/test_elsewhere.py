"""Systems without ``/proc``, ``os.sysconf`` and ``fcntl``, as macOS and Windows are, or in part."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Some of each kind; all of them: PYTHONPATH=tests/elsewhere pytest tests/engine tests/cli
SOME = ("tests/engine/test_free_memory.py", "tests/cli/test_cli_results.py")
CHEAP = "not joined and not plots and not artefacts"


def elsewhere(*command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "tests/elsewhere"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.sysconf('SC_AVPHYS_PAGES')", "AttributeError"),
        ("import fcntl", "No module named 'fcntl'"),
        ("open('/proc/meminfo')", "No such file"),
        ("import pathlib; pathlib.Path('/proc/self/cgroup').read_text()", "No such file"),
    ],
)
def test_they_are_hidden(program: str, said: str):
    assert said in elsewhere("-c", program).stderr


def test_engine_and_commands_do_without_them():
    done = elsewhere("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHEAP, *SOME)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 20
