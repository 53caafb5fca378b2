"""Run a session to its end, or to Ctrl-C, and keep what is finished either way."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from negkernel import Gradients, Sweep
from negkernel.model.environment import computing_as
from negkernel.results.files import Writer
from negkernel.results.group import Group
from negkernel.results.join import join
from negkernel.results.ledger import Ledger, at_work
from negkernel.results.manifest import LedgerError, Manifest
from neurgrad.cli.errors import refuse
from neurgrad.cli.running.cluster import Cluster, Compute
from neurgrad.cli.running.session import Session
from neurgrad.cli.showing.messages import notes
from neurgrad.cli.showing.progress import progress
from neurgrad.cli.showing.report import Showing, report
from neurgrad.cli.showing.terminal import counted, plain

LONG = 2e12  # FLOPs from which on an estimate of the seconds is worth a trial


def execute(session: Session, folder: Path) -> bool:
    """Compute what is missing, join it with what was there, and report it.

    Returns
    -------
    bool
        False after Ctrl-C.
    """
    job = session.job
    plan = session.plan(calibrate=False)
    if plan.flops > LONG:
        plan = session.plan(calibrate=True)
    notes.info("%s", plan)
    with ExitStack() as work:
        try:
            ledger = work.enter_context(at_work(folder, session.manifest))
            work.enter_context(computing_as(session.engine, ledger.manifest.environment))
            complete = _compute(session, ledger)
            if job.part is not None:
                _say_part(session, ledger)
                return complete
            result = _finished(session, ledger)
            if result is not None:
                report(Showing.of(job, session.fixed), result, complete=complete)
        except LedgerError as error:
            refuse("--resume" if job.asked.resume else "--output", str(error))
        except OSError as error:
            if job.output is None:
                raise
            refuse(
                "--output",
                f"{str(job.output)!r}: {error.strerror or error}; what is finished is kept in "
                f"{folder}: then add --resume to go on",
            )
        if complete and job.output is not None:
            ledger.discard(Group.here())
    return complete


def _compute(session: Session, ledger: Ledger) -> bool:
    units = {shard.name: session.units(shard) for shard in session.shards}
    names = list(units)
    if session.job.part is not None:
        first, step = session.job.part
        names = names[first::step]
    total = sum(units[name] for name in names)
    missing = ledger.missing(names)
    done = before = total - sum(units[name] for name in missing)
    if done:
        notes.info("going on after %s of %s", f"{done:,}", counted(total, session.unit))
    start = time.perf_counter()
    try:
        with (
            _workers(session, ledger.manifest) as (compute, at_once),
            progress(total, done, f"{session.unit}s") as advance,
        ):
            for name in ledger.share(missing, compute, at_once):
                done += units[name]
                advance(units[name])
    except KeyboardInterrupt:
        notes.info("stopped after %s of %s", f"{done:,}", counted(total, session.unit))
        if session.job.output is not None:
            notes.info("what is finished is kept; to go on:")
            # Bare, so that the line can be copied.
            print(f"  {plain(_resume_command())}", file=sys.stderr)
        return False
    seconds = time.perf_counter() - start
    rate = f"{(done - before) / seconds:,.0f}"
    notes.info("%s in %.1f s, %s/s", counted(done - before, session.unit), seconds, rate)
    return True


@contextmanager
def _workers(session: Session, manifest: Manifest) -> Iterator[tuple[Compute, int]]:
    """What computes a shard of that name, and how many at a time: this process, or a cluster's."""
    shards = {shard.name: shard for shard in session.shards}
    if session.job.asked.ray is not None:
        with Cluster(session.job, manifest, shards) as cluster:
            yield cluster, cluster.size
        return

    def compute(name: str) -> dict[str, Writer]:
        return {".safetensors": session.compute(shards[name]).save}

    yield compute, 1


def _finished(session: Session, ledger: Ledger) -> Sweep | Gradients | None:
    """Join the finished shards of all prompts that have theirs; None where no prompt has."""
    missing = set(ledger.missing())
    unfinished = {shard.prompts for shard in session.shards if shard.name in missing}
    shards = [shard for shard in session.shards if shard.prompts not in unfinished]
    results: list[Any] = [session.kind.load(ledger.path(shard.name)) for shard in shards]
    return join(shards, results) if shards else None


def _say_part(session: Session, ledger: Ledger) -> None:
    done = len(session.shards) - len(ledger.missing())
    print(
        f"{done} of {counted(len(session.shards), 'shard')} are kept in {plain(ledger.folder)}; "
        f"when all are: negkernel join {plain(session.job.output)}"
    )


def _resume_command() -> str:
    arguments = sys.argv[1:]
    return shlex.join(["negkernel", *arguments, *([] if "--resume" in arguments else ["--resume"])])
