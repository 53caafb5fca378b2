"""Write files that appear whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

Writer = Callable[[Path], object]

_NO_KERNEL_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)
_HELP = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that can be written to",
}


@contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock that belongs to `path` inside the ``with`` block; says whether it is held.

    The lock is a file beside `path`. It goes when the process does, however that ends, and the
    next one to hold it removes what a killed process left.
    """
    place = path.with_name(f".{path.name}.lock")
    lock = _acquire(place, wait)
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: who waits for it looks again by name. Windows does not delete what is
        # open; there the lock itself does, once it is free.
        with suppress(PermissionError):
            place.unlink(missing_ok=True)
        lock.release()


def _acquire(place: Path, wait: bool) -> BaseFileLock | None:
    try:
        lock: BaseFileLock = FileLock(place)
        lock.acquire(blocking=wait)
    except Timeout:
        return None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_KERNEL_LOCKS:
            raise
        lock = SoftFileLock(place)
        try:
            lock.acquire(blocking=wait)
        except Timeout:
            return None
    return lock


def replace_file(path: Path, write: Writer) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one step.

    Parameters
    ----------
    path : Path
        An existing file stays as it is until the new one is complete and on the disk. A symbolic
        link stays a link, and the file that it points to is replaced.
    write : callable
        Called with the path to write to, which has the suffix of `path`.

    Raises
    ------
    OSError
        It cannot be written; the message names `path` and says what would help.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    if path.exists() and not path.is_file():
        raise IsADirectoryError(errno.EISDIR, "not a file; choose another name", str(path))
    try:
        with claimed(path, wait=True):
            try:
                write(partial)
                with partial.open("r+b") as file:  # Windows flushes only what may be written
                    os.fsync(file.fileno())
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in _HELP:
            error.strerror = f"{os.strerror(error.errno)}; {_HELP[error.errno]}"
        error.filename = error.filename or str(path)
        raise


def write_text(text: str) -> Writer:
    """Return what :func:`replace_file` calls to write `text`."""
    return lambda path: path.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
