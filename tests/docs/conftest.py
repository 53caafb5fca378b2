"""The site, built once for all tests that look at it."""

import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation, the tutorial executed; a warning is a failure."""
    # The folder above is shared by the workers of one run: the first of them builds.
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    built, log = shared / "site", shared / "site.log"
    with filelock.FileLock(shared / "site.lock"):
        if not log.exists():
            log.write_text(_build(built))
    assert (built / "index.html").exists(), log.read_text()
    assert "WARNING -" not in log.read_text().replace("[IPKernelApp] WARNING", ""), log.read_text()
    return built


def _build(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"mkdocs build ends with {done.returncode}\n{done.stderr}"
