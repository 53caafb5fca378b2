"""Compute an answer shard by shard in a folder, and leave it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tqdm.auto import tqdm

from negkernel.arguments import check_flag, check_path
from negkernel.handle import Host
from negkernel.methods.base import Method
from negkernel.model.environment import computing_as, environment, identity
from negkernel.request.prompts import Request
from negkernel.results.base import Result
from negkernel.results.join import join
from negkernel.results.ledger import Ledger, at_work
from negkernel.results.manifest import Manifest
from negkernel.results.portions import Portions
from negkernel.results.shards import Shard

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Keeping:
    """Where shards are kept, and whether to show how far they are.

    Attributes
    ----------
    folder : Path or None
        None joins them in memory.
    progress : bool or None
        None shows a bar on a terminal.
    """

    folder: Path | None = None
    progress: bool | None = None

    @classmethod
    def checked(cls, folder: Any, progress: Any) -> Keeping:
        """Check what a user passes for the two.

        Raises
        ------
        TypeError, ValueError
        """
        if progress is not None:
            check_flag("progress", progress)
        return cls(None if folder is None else check_path("folder", folder), progress)


IN_MEMORY = Keeping()


@dataclass(frozen=True)
class Job(Generic[R]):
    """An answer that is computed shard by shard.

    Attributes
    ----------
    kind : type
        What a shard and the whole are.
    settings : dict
        What the numbers depend on beside the request and the model.
    shards : list of Shard
    computer : callable
        Method -> what computes one shard.
    unit : str
        What a pair of a shard is called in progress.
    """

    kind: type[R]
    settings: Mapping[str, Any]
    shards: Sequence[Shard]
    computer: Callable[[Method], Callable[[Shard], R]]
    unit: str

    def answered(self, host: Host, request: Request, runner: Method, keeping: Keeping) -> R:
        """Compute what is missing; what was kept is read when it is looked at."""
        with self._bar(keeping) as step, ExitStack() as work:
            if keeping.folder is None:
                compute = self.computer(runner)
                return join(self.shards, (step(shard, compute(shard)) for shard in self.shards))
            shards = {shard.name: shard for shard in self.shards}
            wanted = manifest_of(host, self.kind.kept_as, request, self.settings, list(shards))
            ledger = work.enter_context(kept(host, keeping.folder, wanted))
            compute = self.computer(again(host, runner))
            for name in ledger.share(
                shards, lambda name: {".safetensors": compute(shards[name]).save}
            ):
                step(shards[name], None)
        return Portions(self.kind, keeping.folder).whole(request.fields())

    @contextmanager
    def _bar(self, keeping: Keeping) -> Iterator[Callable[[Shard, Any], Any]]:
        hidden = None if keeping.progress is None else not keeping.progress
        hidden = True if len(self.shards) == 1 else hidden
        total = sum(shard.pairs for shard in self.shards)
        with tqdm(total=total, unit=self.unit, desc=self.kind.__name__, disable=hidden) as bar:

            def step(shard: Shard, found: Any) -> Any:
                bar.update(shard.pairs)
                return found

            yield step


@contextmanager
def kept(host: Host, folder: Path, wanted: Manifest) -> Iterator[Ledger]:
    """Work in a folder with whoever else does, with the threads and memory of who began."""
    with at_work(folder, wanted) as ledger, computing_as(host, ledger.manifest.environment):
        yield ledger


def again(host: Host, runner: Method) -> Method:
    """Make a method anew, with the memory that holds now."""
    return runner if runner.name == "full" else host.method(runner.name)


def manifest_of(
    host: Host, kind: str, request: Request, settings: Mapping[str, Any], parts: Sequence[str]
) -> Manifest:
    """Describe work on a request: everything that its results depend on, and its parts."""
    asked = {
        **settings,
        **identity(host),
        "task": host.task,
        "prompt_tokens": request.tokens,
        "positions": [int(position) for position in request.positions],
        "shifted": request.elsewhere,
        "target_ids": request.target_ids.tolist(),
    }
    if request.answers is not None:
        asked["target_tokens"] = request.answers
    return Manifest.of(kind, asked, environment(host), parts)
