"""Keep a long computation in a folder, part by part, and share it between processes.

The folder holds ``manifest.json``, written first and once, and for every finished part its files
and ``PART.json``: the part's name, the manifest's digest and the SHA-256 of each file. A part is
what it was asked to be only if all of these agree, so what is damaged, exchanged or left from other
work is computed again. Whoever computes a part holds its lock; any number of processes may be
given the same work, and what a killed one was at is free at once.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from negkernel.results.files import Writer, claimed, replace_file, sha256, write_text
from negkernel.results.group import Group
from negkernel.results.manifest import FILE, Manifest, check_part

log = logging.getLogger(__name__)

POLL = 0.1  # seconds between looks at parts that other processes are at
_MANIFEST, _WORKER = "manifest", "worker-"  # what locks belong to
_MEMBER = ".member-"  # of a group, that has finished


class Ledger:
    """A folder of finished parts; to add some, get it from :func:`at_work`.

    Parameters
    ----------
    folder : Path
    manifest : Manifest
    environment : mapping, optional
        Of this process; parts are computed only where it is the manifest's.
    suffixes : list of str
        Of the files of a part.
    presence : ExitStack, optional
        Says that this process is at work until it is closed.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        environment: Mapping[str, Any] | None = None,
        suffixes: Iterable[str] = (".safetensors",),
        presence: ExitStack | None = None,
    ):
        self.folder = folder
        self.manifest = manifest
        self.suffixes = tuple(suffixes)
        self._here = environment
        self._presence = presence or ExitStack()
        self._id = manifest.id
        self._whole: set[str] = set()

    def path(self, part: str, suffix: str | None = None) -> Path:
        """File of a part, by default its first."""
        return self.folder / (part + (self.suffixes[0] if suffix is None else suffix))

    def whole(self, part: str) -> bool:
        """Whether a part is finished and every byte of it is what was written."""
        if part not in self._whole:
            with suppress(OSError, ValueError):
                if self.path(part, ".json").read_text(encoding="utf-8") == self._record(part):
                    self._whole.add(part)
        return part in self._whole

    def missing(self, parts: Iterable[str] | None = None) -> list[str]:
        """Those of `parts`, by default of all, that are still to be computed."""
        names = self.manifest.parts or [] if parts is None else parts
        return [part for part in names if not self.whole(part)]

    def share(
        self,
        parts: Iterable[str],
        compute: Callable[[str], Mapping[str, Writer]],
        at_once: int = 1,
    ) -> Iterator[str]:
        """Compute what is missing, and yield each part once it is there, whoever computed it.

        Parameters
        ----------
        parts : list of str
        compute : callable
            Part -> what writes its files, by suffix. Called only for parts that no other process
            is at.
        at_once : int
            How many parts are computed at a time, each in a thread that waits for somebody else.
        """
        waiting, take = list(parts), partial(self._take, compute=compute)
        pool = None if at_once == 1 else ThreadPoolExecutor(at_once)
        try:
            while waiting:
                others = []
                taken = map(take, waiting) if pool is None else pool.map(take, waiting)
                for part, done in zip(waiting, taken, strict=True):
                    if done:
                        yield part
                    else:
                        others.append(part)
                if len(others) == len(waiting):
                    time.sleep(POLL)
                waiting = others
        finally:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    def discard(self, group: Group | None = None) -> None:
        """Delete the folder, unless another process is at work in it: the last one does.

        Of a ``group`` that was started together the last one does that too: a process that comes
        late finds everything finished, and does not begin anew.
        """
        with claimed(self.folder / _MANIFEST, wait=True):
            self._presence.close()
            if group is not None:
                (self.folder / f"{_MEMBER}{group.rank}").touch()
            if busy(self.folder) or self._late(group):
                return
            remove_retired(self.folder)
            try:
                os.replace(self.folder, self.folder.with_name(f".{self.folder.name}.finished"))
            except PermissionError:  # by Windows, which moves no folder that holds an open lock
                shutil.rmtree(self.folder, ignore_errors=True)
        remove_retired(self.folder)
        with suppress(OSError):  # gone, or another process's by now
            self.folder.rmdir()

    def _late(self, group: Group | None) -> bool:
        """Whether some of those that were started together have not been here yet."""
        members = [path.stat().st_mtime for path in self.folder.glob(f"{_MEMBER}*")]
        return group is not None and sum(at >= group.since for at in members) < group.size

    def _take(self, part: str, compute: Callable[[str], Mapping[str, Writer]]) -> bool:
        check_part(part, self.folder)
        if self.whole(part):
            return True
        with claimed(self.folder / part, wait=False) as mine:
            if not mine:
                return False
            if not self.whole(part):  # nobody finished it meanwhile
                self.manifest.check_environment(self._here or {}, self.folder)
                if self.path(part, ".json").exists():
                    log.warning("%s was altered; it is computed again", self.path(part))
                for suffix, write in compute(part).items():
                    replace_file(self.path(part, suffix), write)
                replace_file(self.path(part, ".json"), write_text(self._record(part)))
                self._whole.add(part)
        return True

    def _record(self, part: str) -> str:
        found = {suffix: sha256(self.path(part, suffix)) for suffix in self.suffixes}
        return json.dumps({"part": part, "run": self._id, "sha256": found}) + "\n"


@contextmanager
def at_work(
    folder: Path, wanted: Manifest, suffixes: Iterable[str] = (".safetensors",)
) -> Iterator[Ledger]:
    """Make `folder` that of `wanted`, or find that it is, and work in it with whoever else does.

    Raises
    ------
    LedgerError
        It holds other work, or its manifest is damaged.
    """
    with ExitStack() as presence:
        manifest = None
        while manifest is None:
            folder.mkdir(parents=True, exist_ok=True)
            # Another process that has finished may discard the folder before it is locked.
            with suppress(FileNotFoundError), claimed(folder / _MANIFEST, wait=True):
                if not (folder / FILE).exists():
                    replace_file(folder / FILE, write_text(wanted.text))
                manifest = Manifest.read(folder)
                manifest.check_same(wanted, folder)
                busy(folder)  # to clean up
                own = folder / (_WORKER + uuid.uuid4().hex)
                presence.enter_context(claimed(own, wait=True))
        yield Ledger(folder, manifest, wanted.environment, suffixes, presence)


def busy(folder: Path) -> bool:
    """Whether a process is at work in a folder; what killed ones left of their presence goes."""
    alive = False
    for lock in folder.glob(f".{_WORKER}*.lock"):
        worker = lock.name.removeprefix(".").removesuffix(".lock")
        with claimed(folder / worker, wait=False) as dead:
            alive |= not dead
    return alive


def remove_retired(folder: Path) -> None:
    """Delete what a process that was killed in :meth:`Ledger.discard` left of `folder`."""
    shutil.rmtree(folder.with_name(f".{folder.name}.finished"), ignore_errors=True)
