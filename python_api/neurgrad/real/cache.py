"""Keep converted models in a cache: whole or absent, and checked when they are used."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_dir

from neurgrad.real.fetch import fetch
from neurgrad.real.sources import Source

log = logging.getLogger(__name__)

CACHE_VARIABLE = "NEGKERNEL_CACHE"
CHECKSUMS = "SHA256SUMS"  # as sha256sum -c reads it


def cache_folder() -> Path:
    """Return the folder of real models; it may not exist yet."""
    root = os.environ.get(CACHE_VARIABLE) or user_cache_dir("negkernel")
    return Path(root).expanduser() / "real"


def prepare(source: Source, cache: Path) -> Path:
    """Return the folder of ``source`` in ``cache``, made first unless it is there and whole.

    It appears in one step, and processes that want it at once wait for the first of them.

    Raises
    ------
    ValueError
        It cannot be fetched, or the cache cannot be written.
    """
    folder = source.folder(cache)
    if whole(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{source.name}.lock"):
            if not whole(folder):
                _make(source, folder)
    except OSError as error:
        raise ValueError(
            f"cannot keep {source.name} in {cache}: {error.strerror or error}; "
            f"${CACHE_VARIABLE} names another folder"
        ) from error
    return folder


def whole(folder: Path) -> bool:
    """Whether ``folder`` holds exactly the files of its list, with their checksums."""
    try:
        lines = (folder / CHECKSUMS).read_text().splitlines()
        listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        return listed == _checksums(folder)
    except (OSError, ValueError):  # no list, or one that is damaged itself
        return False


def _make(source: Source, folder: Path) -> None:
    """Fetch and convert beside ``folder``, then put the result in its place."""
    if folder.exists():
        log.warning("%s is incomplete or damaged and is fetched again", folder)
    prefix = f".{source.name}-"
    for left in folder.parent.glob(f"{prefix}*"):  # by a process that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as scratch:
        payload, made, old = (Path(scratch) / name for name in ("payload", "made", "old"))
        payload.mkdir()
        fetch(source, payload)
        made.mkdir()
        source.convert(payload, made)
        for licence in payload.glob("LICENSE*"):
            shutil.copy(licence, made)
        listed = [f"{digest}  {name}\n" for name, digest in _checksums(made).items()]
        (made / CHECKSUMS).write_text("".join(listed))
        if folder.exists():
            folder.rename(old)
        made.rename(folder)


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of ``folder`` but the list of them."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name != CHECKSUMS:
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
