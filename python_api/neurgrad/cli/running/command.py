"""What ``sweep`` and ``grad`` do: read their options, compute, report."""

from __future__ import annotations

from typing import Any

from neurgrad.cli.reading.job import read_job
from neurgrad.cli.reading.outputs import run_folder


def run_command(**options: Any) -> int:
    """Run the job that the options of a command ask for.

    Returns
    -------
    int
        Exit status: 0, or 130 after Ctrl-C.
    """
    job = read_job(**options)
    output = job.output
    if job.resume and output is not None and output.exists() and not run_folder(output).exists():
        from negkernel.results.ledger import remove_retired

        remove_retired(run_folder(output))
        print(f"{output} is complete; leave --resume out to compute it again")
        return 0
    # Torch comes with these: bad options are refused before its seconds are spent.
    from neurgrad.cli.running.execute import execute, kept_in
    from neurgrad.cli.running.session import Session
    from neurgrad.cli.showing.messages import messages
    from neurgrad.cli.showing.report import report_plan

    with messages(), kept_in(job) as folder:
        session = Session(job)
        if job.dry_run:
            report_plan(session.plan(calibrate=True), len(session.shards))
            return 0
        return 0 if execute(session, folder) else 130
