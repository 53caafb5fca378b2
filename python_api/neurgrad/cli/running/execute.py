"""Run a session to its end, or to Ctrl-C, and keep what is finished either way."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from negkernel import Gradients, Sweep
from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.job import Job
from neurgrad.cli.reading.models import environment
from neurgrad.cli.reading.outputs import run_folder
from neurgrad.cli.running.session import Session
from neurgrad.cli.showing.progress import progress
from neurgrad.runs import Run, RunError, read_manifest

LONG = 2e12  # FLOPs from which on an estimate of the seconds is worth a trial


@contextmanager
def kept_in(job: Job) -> Iterator[Path]:
    """Give the folder in which a job keeps its finished shards.

    It is made before anything else, so that from then on ``--resume`` knows the output that may
    already be there for an older one. It goes again if nothing was put into it.
    """
    if job.output is None or job.dry_run:
        with tempfile.TemporaryDirectory(prefix="negkernel-") as folder:
            yield Path(folder)
        return
    folder_path = run_folder(job.output)
    folder_path.mkdir(exist_ok=True)
    try:
        yield folder_path
    finally:
        if folder_path.exists() and not any(folder_path.iterdir()):
            folder_path.rmdir()


def open_session(job: Job, folder: Path) -> Session:
    """Load the model, with the threads and the memory budget of the run to go on with."""
    import torch

    started_with: dict[str, Any] = {}
    if (folder / "manifest.json").exists():
        with blame("--resume"):
            started_with = read_manifest(folder)["environment"]
        torch.set_num_threads(started_with["threads"])
    return Session(job, started_with.get("memory_budget"))


def execute(session: Session, folder: Path) -> tuple[Sweep | Gradients | None, bool]:
    """Compute what is missing and join it with what was there.

    Returns
    -------
    result : Sweep or Gradients or None
        Of the finished prompts; None where none is.
    complete : bool
        False after Ctrl-C.
    """
    plan = session.plan(calibrate=False)
    if plan.flops > LONG:
        plan = session.plan(calibrate=True)
    _say(str(plan))
    try:
        run: Run[Any] = Run(
            folder,
            session.kind,
            session.settings(),
            environment(session.engine),
            session.shards,
        )
        with run:
            complete = _compute(session, run)
            finished = {shard.prompts for shard in run.done} - {s.prompts for s in run.missing}
            return (run.result() if finished else None), complete
    except RunError as error:
        refuse("--resume" if session.job.resume else "--output", str(error))


def _compute(session: Session, run: Run[Any]) -> bool:
    total = sum(session.units(shard) for shard in run.shards)
    done = sum(session.units(shard) for shard in run.done)
    if done:
        _say(f"going on after {done:,} of {total:,} {session.unit}")
    start = time.perf_counter()
    try:
        with progress(total, done, session.unit) as bar:
            run.compute(session.compute, lambda shard: bar.update(session.units(shard)))
    except KeyboardInterrupt:
        done = sum(session.units(shard) for shard in run.done)
        _say(f"stopped after {done:,} of {total:,} {session.unit}")
        if session.job.output is not None:
            _say(f"what is finished is kept; to go on:\n  {_resume_command()}")
        return False
    except OSError as error:
        if session.job.output is None:
            raise
        refuse(
            "--output",
            f"{str(session.job.output)!r}: {error.strerror or error}; what is finished is kept in "
            f"{run.folder}: make room, then add --resume to go on",
        )
    seconds = time.perf_counter() - start
    _say(f"{total - done:,} {session.unit} in {seconds:.1f} s, {(total - done) / seconds:,.0f}/s")
    return True


def _resume_command() -> str:
    arguments = sys.argv[1:]
    return shlex.join(["negkernel", *arguments, *([] if "--resume" in arguments else ["--resume"])])


def _say(line: str) -> None:
    print(f"negkernel: {line}", file=sys.stderr, flush=True)
