"""Compute shards on the nodes of a Ray cluster: processes that hold the model, and are replaced."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from negkernel.extras import need
from negkernel.model.environment import computing_as
from negkernel.results.files import Writer
from negkernel.results.manifest import Manifest
from negkernel.results.shards import Shard
from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.job import Job
from neurgrad.cli.running.session import Session
from neurgrad.cli.showing.messages import notes

Compute = Callable[[str], Mapping[str, Writer]]

LIVES = 3  # of a worker that is at one shard
LOCAL = "local"


class Worker:
    """Holds the model in a process of the cluster.

    Parameters
    ----------
    job : Job
    manifest : Manifest
        Of the work that this is a part of.

    Raises
    ------
    LedgerError
        Another model, version or kind of device than the work was started with.
    """

    def __init__(self, job: Job, manifest: Manifest):
        self._session = Session(job)
        self._environment = manifest.environment
        here = Path(os.uname().nodename if hasattr(os, "uname") else "a worker")
        manifest.check_same(self._session.manifest, here)
        manifest.check_environment(self._session.manifest.environment, here)

    def compute(self, shard: Shard) -> bytes:
        """Compute a shard, and return its file."""
        with (
            tempfile.TemporaryDirectory(prefix="negkernel-") as folder,
            computing_as(self._session.engine, self._environment),
        ):
            path = Path(folder) / "shard.safetensors"
            self._session.compute(shard).save(path)
            return path.read_bytes()


class Cluster:
    """Workers of a Ray cluster while the ``with`` block runs; call it with the name of a shard.

    Parameters
    ----------
    job : Job
        ``job.asked.ray`` is the address of a cluster, or "local": one of this machine.
    manifest : Manifest
        Of the work.
    shards : mapping
        By name.

    Attributes
    ----------
    size : int
        Workers: one a GPU, or one for as many processors as the work takes threads.
    """

    def __init__(self, job: Job, manifest: Manifest, shards: Mapping[str, Shard]):
        with blame("--ray"):
            need("ray", "ray", "--ray")
        import ray

        self._ray, self._job, self._manifest, self._shards = ray, job, manifest, shards
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._started: list[Any] = []
        self._over = False
        self._ours = not ray.is_initialized()

    def __enter__(self) -> Self:
        address = self._job.asked.ray or LOCAL
        if self._ours:
            if ":" in address:
                _knock(address)
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            try:
                if address == LOCAL:
                    self._ray.init(include_dashboard=False, **quiet)
                else:
                    self._ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                refuse("--ray", f"{address!r}: no cluster can be reached there ({_last(error)})")
        there, threads = self._ray.cluster_resources(), self._manifest.environment["threads"]
        gpus = int(there.get("GPU", 0)) if self._job.asked.device != "cpu" else 0
        self.size = gpus or max(1, int(there.get("CPU", 1)) // threads)
        each = {"num_gpus": 1} if gpus else {"num_cpus": min(threads, int(there.get("CPU", 1)))}
        self._kind = self._ray.remote(**each)(Worker)
        # Large inputs travel once.
        self._given = self._ray.put(self._job), self._ray.put(self._manifest)
        for _ in range(self.size):
            self._free.put(self._start())
        notes.info("%d workers of the Ray cluster %s", self.size, address)
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        for worker in self._started:
            with suppress(Exception):  # it is dead; one that is at a shard gives it up here
                self._ray.kill(worker)
        if self._ours:
            self._ray.shutdown()

    def __call__(self, name: str) -> Mapping[str, Writer]:
        """Have a worker compute a shard; a worker that dies is replaced."""
        worker = self._free.get()
        try:
            for life in range(1, LIVES + 1):
                try:
                    content = self._ray.get(worker.compute.remote(self._shards[name]))
                    break
                except self._ray.exceptions.RayActorError as error:
                    if self._over:
                        raise
                    notes.warning("a worker of the Ray cluster died at %s: %s", name, _last(error))
                    if life == LIVES:
                        raise RuntimeError(
                            f"{LIVES} workers of the Ray cluster died at {name}: {_last(error)}"
                        ) from error
                    worker = self._start()
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from None
        finally:
            self._free.put(worker)
        return {".safetensors": lambda path: path.write_bytes(content)}

    def _start(self) -> Any:
        worker = self._kind.remote(*self._given)
        self._started.append(worker)
        return worker


def _knock(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        refuse("--ray", f"{address!r}: no cluster can be reached there ({_last(error)})")


def _last(error: BaseException) -> str:
    """The line of an error from another process that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
