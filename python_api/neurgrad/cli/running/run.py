"""Run what ``sweep`` and ``grad`` ask for: read their options, compute, report."""

from __future__ import annotations

from neurgrad.cli.reading.asked import JobOptions
from neurgrad.cli.reading.job import read_job
from neurgrad.cli.reading.outputs import kept_in, run_folder
from neurgrad.cli.showing.messages import notes, step
from neurgrad.cli.showing.terminal import tell


def run(asked: JobOptions) -> int:
    """Run the job that the options of a command ask for.

    Returns
    -------
    int
        Exit status: 0, or 130 after Ctrl-C.
    """
    job = read_job(asked)
    output = job.output
    if asked.resume and output is not None and output.exists() and not run_folder(output).exists():
        from negkernel.results.ledger import remove_retired

        remove_retired(run_folder(output))
        tell(f"{output} is complete; leave --resume out to compute it again")
        return 0
    if output is None and _left_to_another():
        return 0
    with kept_in(job) as folder:
        with step(f"loading {asked.model}"):
            # Torch comes with these, after bad options have been refused.
            from neurgrad.cli.running.execute import execute
            from neurgrad.cli.running.session import Session
            from neurgrad.cli.showing.report import report_plan

            session = Session(job)
        if asked.dry_run:
            report_plan(session.plan(calibrate=True), len(session.shards), json=asked.json)
            return 0
        return 0 if execute(session, folder) else 130


def _left_to_another() -> bool:
    """Whether this is not the first of processes that were started together and share nothing."""
    from negkernel.results.group import Group

    group = Group.here()
    if group is None:
        return False
    if group.rank == 0:
        notes.warning(
            "without --output FILE the %d processes that were started have nothing to share: the "
            "first one computes all",
            group.size,
        )
    return group.rank > 0
