"""What a finished job prints, writes and draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from negkernel import Gradients, Sweep
from neurgrad.cli.reading.job import Job
from neurgrad.cli.reading.neurons import Choice
from neurgrad.cli.reading.outputs import write_result
from neurgrad.cli.showing.tables import key_values, neuron_table

if TYPE_CHECKING:
    import pandas as pd

    from negkernel.answers.plan import Plan
    from neurgrad.cli.running.session import Session

SHOWN_PROMPTS, SHOWN_NEURONS = 3, 16


def report_plan(plan: Plan, n_shards: int) -> None:
    """Print the price of a job."""
    about = "about " if plan.resolution == "spectral" else ""
    seconds = "not estimated" if plan.seconds is None else f"{plan.seconds:,.1f}"
    lines = {
        "method": plan.method,
        "prompts": f"{plan.prompts:,}",
        "rows": f"{about}{plan.rows:,} shifted forwards",
        "FLOPs": f"{plan.flops:.3g}",
        "scratch": f"{plan.scratch_bytes:,} bytes at most",
        "results": f"{plan.result_bytes:,} bytes",
        "seconds": f"{seconds} (estimate)",
        "shards": f"{n_shards:,}, each kept as it finishes",
    }
    Console(highlight=False).print(key_values("What it would cost", lines))


def report(session: Session, result: Sweep | Gradients, *, complete: bool) -> None:
    """Write, draw and print a result, as far as it was asked for.

    Parameters
    ----------
    complete : bool
        A part of the result is only printed, and only where there is no file to go on with.
    """
    job = session.job
    frame = chosen_frame(result, job.neurons, session.fixed)
    console = Console(highlight=False)
    if job.output is None:
        _print_tables(console, frame)
    if not complete:
        return
    if isinstance(result, Sweep):
        console.print(_summary(result), soft_wrap=True)
    if job.output is not None:
        whole = job.output.suffix.lower() == ".safetensors"
        write_result(result, None if whole else frame, job.output)
        console.print(f"Wrote {job.output}", soft_wrap=True)
    if job.plot is not None:
        _draw(console, result, job)


def chosen_frame(
    result: Sweep | Gradients, choice: Choice, fixed: np.ndarray | None
) -> pd.DataFrame:
    """Return the table of a result; of gradients only the neurons that were asked for."""
    if isinstance(result, Sweep):
        return result.to_frame()
    if choice.kind == "top":
        return result.to_frame(top=choice.n)
    frame = result.to_frame()
    if choice.kind == "all" or fixed is None:
        return frame
    wanted = fixed[:, 0] * result.cg.shape[-1] + fixed[:, 1]
    flat = frame["layer"] * result.cg.shape[-1] + frame["neuron"]
    return frame[flat.isin(wanted)].reset_index(drop=True)


def _print_tables(console: Console, frame: pd.DataFrame) -> None:
    n_prompts = frame["prompt_index"].nunique()
    for index, rows in frame.groupby("prompt_index"):
        if index == SHOWN_PROMPTS:
            break
        first = rows.iloc[0]
        title = f"{first['prompt']} -> {first['target']} (p = {first['base_prob']:.3g})"
        console.print(neuron_table(title, rows.head(SHOWN_NEURONS)), soft_wrap=True)
    if n_prompts > SHOWN_PROMPTS or len(frame) > n_prompts * SHOWN_NEURONS:
        console.print(
            f"{n_prompts:,} prompts and {len(frame):,} rows in all; --output FILE keeps them",
            style="dim",
        )


def _summary(sweep: Sweep) -> str:
    polarity = sweep.polarity()
    return (
        f"{polarity.size:,} curves from {sweep.rows:,} rows: "
        f"{sweep.linear().mean():.1%} linear (|r| >= 0.95), "
        f"{(polarity > 0).mean():.1%} positive, {(polarity < 0).mean():.1%} negative"
    )


def _draw(console: Console, result: Sweep | Gradients, job: Job) -> None:
    from neurgrad.plots import draw_all

    assert job.plot is not None
    for path in draw_all(result, job.plot):
        console.print(f"Drew {path}", soft_wrap=True)
