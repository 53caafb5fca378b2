"""What ``sweep`` and ``grad`` do once their options are read."""

from __future__ import annotations

from neurgrad.cli.execute import execute, kept_in, open_session
from neurgrad.cli.job import Job
from neurgrad.cli.messages import messages
from neurgrad.cli.outputs import run_folder
from neurgrad.cli.report import report, report_plan
from neurgrad.runs import remove


def run_job(job: Job) -> int:
    """Run a job and return the exit status: 0, or 130 after Ctrl-C."""
    output = job.output
    if job.resume and output is not None and output.exists() and not run_folder(output).exists():
        print(f"{output} is complete; leave --resume out to compute it again")
        return 0
    with messages(), kept_in(job) as folder:
        session = open_session(job, folder)
        if job.dry_run:
            report_plan(session.plan(calibrate=True), len(session.shards))
            return 0
        result, complete = execute(session, folder)
        if result is not None:
            report(session, result, folder, complete=complete)
        if complete and job.output is not None:
            remove(folder)
    return 0 if complete else 130
