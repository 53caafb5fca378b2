"""A run: its folder, its manifest and the shards that are finished.

The folder holds ``manifest.json`` and a safetensors file for each finished shard. The manifest
says what is being computed (``settings``), with what (``environment``), and the SHA-256 of every
finished shard. A shard is written first and entered into the manifest after, each in one step, so
a process may be killed at any moment: what the manifest lists is whole, the rest is computed again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from negkernel import Gradients, Sweep
from neurgrad.runs.files import replace_file, sha256
from neurgrad.runs.join import join
from neurgrad.runs.shards import Shard

log = logging.getLogger(__name__)

FORMAT, VERSION = "negkernel-run", 1

R = TypeVar("R", Sweep, Gradients)


class RunError(ValueError):
    """A run that cannot be started or taken up: something else is in its place."""


class Run(Generic[R]):
    """A computation in shards whose finished part lives in a folder.

    Parameters
    ----------
    folder : Path
        Made when the first shard is kept; read if it is there.
    kind : type
        `Sweep` or `Gradients`: what a shard is.
    settings : mapping
        Everything that the results depend on, as JSON can say it.
    environment : mapping
        What they depend on in the last bits: versions, threads, memory budget.
    shards : list of Shard
        All of them, in order.

    Raises
    ------
    RunError
        The folder holds a run with other settings, or another process is at work in it.
    """

    def __init__(
        self,
        folder: Path,
        kind: type[R],
        settings: Mapping[str, Any],
        environment: Mapping[str, Any],
        shards: Sequence[Shard],
    ):
        self.folder = folder
        self.kind: type[R] = kind
        self.settings = dict(settings)
        self.environment = dict(environment)
        self.shards = list(shards)
        self._lock: int | None = None
        self._done: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        # The lock is the process's own: it goes when the process does, however it ends.
        self._lock = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise RunError(f"another process is at work in {self.folder}; wait for it") from None
        try:
            if (self.folder / "manifest.json").exists():
                self._take_up()
            else:
                self._write_manifest()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def done(self) -> list[Shard]:
        """The shards that are finished."""
        return [shard for shard in self.shards if shard.name in self._done]

    @property
    def missing(self) -> list[Shard]:
        """The shards that are still to be computed, in order."""
        return [shard for shard in self.shards if shard.name not in self._done]

    def compute(self, one: Callable[[Shard], R], report: Callable[[Shard], object]) -> None:
        """Compute what is missing, keeping each shard as it finishes.

        Parameters
        ----------
        one : callable
            Computes a shard.
        report : callable
            Called with each shard once it is kept.
        """
        for shard in self.missing:
            self.keep(shard, one(shard))
            report(shard)

    def keep(self, shard: Shard, result: R) -> None:
        """Write a finished shard and enter it into the manifest."""
        path = self.folder / shard.name
        result.save(path)
        self._done[shard.name] = sha256(path)
        self._write_manifest()

    def result(self) -> R:
        """Read all finished shards and join them.

        Returns
        -------
        Sweep or Gradients
            The whole result; where shards are missing, of the prompts that are finished.

        Raises
        ------
        ValueError
            No prompt is finished.
        """
        unfinished = {shard.prompts for shard in self.missing}
        shards = [shard for shard in self.shards if shard.prompts not in unfinished]
        if not shards:
            raise ValueError(f"no prompt of the run in {self.folder} is finished")
        return join(shards, [self.kind.load(self.folder / shard.name) for shard in shards])

    def _take_up(self) -> None:
        manifest = read_manifest(self.folder)
        for name, value in manifest["settings"].items():
            if self.settings.get(name) != value:
                raise RunError(
                    f"the run in {self.folder} was started with {name} {_short(value)}, not "
                    f"{_short(self.settings.get(name))}; give the same options, or delete the "
                    "folder to start again"
                )
        for name, value in manifest["environment"].items():
            if self.environment.get(name) != value:
                log.warning(
                    "%s was %s when this run was started and is %s now: the last bits of the "
                    "shards to come may differ from those of one uninterrupted run",
                    name,
                    value,
                    self.environment.get(name),
                )
        self.environment = manifest["environment"]
        names = {shard.name for shard in self.shards}
        for name, digest in manifest["shards"].items():
            path = self.folder / name
            if name in names and path.is_file() and sha256(path) == digest:
                self._done[name] = digest
            else:
                log.warning("%s is missing or was altered; it is computed again", path)

    def _write_manifest(self) -> None:
        content = {
            "format": FORMAT,
            "version": VERSION,
            "settings": self.settings,
            "environment": self.environment,
            "shards": self._done,
        }
        replace_file(
            self.folder / "manifest.json",
            lambda path: path.write_text(json.dumps(content, indent=1) + "\n"),
        )


def remove(folder: Path) -> None:
    """Delete a run's folder, in one step as far as a later process can see."""
    retired = folder.with_name(f".{folder.name}.finished")
    shutil.rmtree(retired, ignore_errors=True)
    os.replace(folder, retired)
    shutil.rmtree(retired, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a run.

    Raises
    ------
    RunError
        There is none, or it is not one that this version reads.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
        known = manifest["format"] == FORMAT and manifest["version"] == VERSION
        whole = all(
            isinstance(manifest[part], dict) for part in ("settings", "environment", "shards")
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}); delete {folder} to start again"
        ) from error
    if not (known and whole):
        raise RunError(f"{path} is not a manifest that this version reads; delete {folder}")
    return dict(manifest)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
