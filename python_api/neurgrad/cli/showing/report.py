"""What a finished job prints, writes and draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from negkernel import Gradients, Sweep
from negkernel.results.group import Group
from neurgrad.cli.reading.neurons import Choice
from neurgrad.cli.reading.outputs import STDOUT, write_result
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import notes
from neurgrad.cli.showing.spreadsheets import write_csv
from neurgrad.cli.showing.tables import key_values, neuron_table
from neurgrad.cli.showing.terminal import console, counted, plain

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from negkernel.answers.plan import Plan
    from neurgrad.cli.reading.job import Job

SHOWN_PROMPTS, SHOWN_NEURONS = 3, 16


def report_plan(plan: Plan, n_shards: int, *, json: bool) -> None:
    """Print the price of a job."""
    if json:
        print_json({"plan": asdict(plan) | {"shards": n_shards}})
        return
    about = "about " if plan.resolution == "spectral" else ""
    seconds = "not estimated" if plan.seconds is None else f"{plan.seconds:,.1f}"
    passes = f", {plan.passes:,} passes" if plan.passes else ""
    bound = f", bound by arithmetic from {plan.bound_rows:,} rows" if plan.bound_rows else ""
    lines = {
        "method": plan.method,
        "prompts": f"{plan.prompts:,}",
        "rows": f"{about}{plan.rows:,} shifted forwards",
        "FLOPs": f"{plan.flops:.3g}",
        "scratch": f"{plan.scratch_bytes:,} bytes at most",
        "memory": ", ".join(f"{name} {n:,} bytes" for name, n in plan.device_bytes.items()),
        "weights": f"{plan.weight_bytes:,} bytes a pass{passes}{bound}",
        "results": f"{plan.result_bytes:,} bytes",
        "seconds": f"{seconds} (estimate)",
        "shards": f"{n_shards:,}, each kept as it finishes",
    }
    console().print(key_values("What it would cost", lines))


@dataclass(frozen=True)
class Showing:
    """How a result is shown.

    Attributes
    ----------
    neurons : Choice
        Of gradients, which are shown.
    fixed : int array [N, 2] or None
        Those, unless they depend on the prompt.
    output : Path or None
        The file to write; :data:`STDOUT` is CSV to stdout, None tables.
    plot : Path or None
        Folder to draw into.
    json : bool
    silent : bool
        Nothing goes to stdout.
    asked : list of str
        What a chat template was put around; empty where none was.
    """

    neurons: Choice
    fixed: np.ndarray | None
    output: Path | None
    plot: Path | None
    json: bool
    silent: bool = False
    asked: Sequence[str] = ()

    @classmethod
    def of(cls, job: Job, fixed: np.ndarray | None) -> Showing:
        """As a job asks; of processes that were started together, the first one speaks."""
        asked, group = job.asked, Group.here()
        if group is not None and group.rank > 0:
            return cls(job.neurons, fixed, asked.output, plot=None, json=False, silent=True)
        texts = job.prompts if asked.chat else ()
        return cls(job.neurons, fixed, asked.output, asked.plot, asked.json, asked=texts)


def report(showing: Showing, result: Sweep | Gradients, *, complete: bool) -> None:
    """Write, draw and print a result, as far as it was asked for.

    Parameters
    ----------
    complete : bool
        A part of the result is only printed, and only where there is no file to go on with.
    """
    frame = chosen_frame(result, showing.neurons, showing.fixed)
    _warn_of_nan(result)
    output, to_stdout = showing.output, showing.output == STDOUT
    aside = showing.json or to_stdout or showing.silent
    say: Callable[[str], Any] = notes.info if aside else _print_line
    if complete and showing.json:
        print_json(_document(result, frame))
    elif output is None and not showing.json:
        _print_tables(frame, (complete and showing.asked) or result.prompts)
    if not complete:
        return
    if to_stdout:
        write_csv(frame, None)
    if isinstance(result, Sweep):
        say(_summary(result))
    if output is not None and not to_stdout:
        whole = output.suffix.lower() == ".safetensors"
        write_result(result, None if whole else frame, output)
        say(f"Wrote {output}")
    if showing.plot is not None:
        from neurgrad.plots import draw_all

        for path in draw_all(result, showing.plot, title=next(iter(showing.asked), None)):
            say(f"Drew {path}")


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


def _print_line(line: str) -> None:
    console().print(plain(line), soft_wrap=True)


def _print_tables(frame: pd.DataFrame, prompts: Sequence[str]) -> None:
    out = console()
    n_prompts = frame["prompt_index"].nunique()
    for index, prompt in enumerate(prompts[:SHOWN_PROMPTS]):
        rows = frame[frame["prompt_index"] == index]
        first = rows.iloc[0]
        title = f"{prompt} -> {first['target']} (p = {first['base_prob']:.3g})"
        out.print(neuron_table(title, rows.head(SHOWN_NEURONS)), soft_wrap=True)
    if n_prompts > SHOWN_PROMPTS or len(frame) > n_prompts * SHOWN_NEURONS:
        out.print(
            f"{counted(n_prompts, 'prompt')} and {counted(len(frame), 'row')} in all; "
            "--output FILE keeps them",
            style="dim",
        )


def _summary(sweep: Sweep) -> str:
    """Shares of the curves that are numbers; one that is not is neither linear nor of a sign."""
    neg, r = sweep.neg(), sweep.pearson()
    known = np.isfinite(neg) & np.isfinite(r)
    told = f"{counted(neg.size, 'curve')} from {counted(sweep.rows, 'row')}: "
    if not known.any():
        return f"{told}none is a number (NaN), so none has a slope"
    of = "" if known.all() else f" of the {known.sum():,} that are numbers"
    linear, polarity = sweep.linear()[known], sweep.polarity()[known]
    return (
        f"{told}{linear.mean():.1%} linear (|r| >= 0.95), {(polarity > 0).mean():.1%} positive, "
        f"{(polarity < 0).mean():.1%} negative{of}"
    )


def _warn_of_nan(result: Sweep | Gradients) -> None:
    if isinstance(result, Sweep):
        wrong, what = ~np.isfinite(result.logprob_shift).all(-1), "curve"
    else:
        # Neurons that a narrower layer lacks have no activation either.
        exists = np.isfinite(result.activation).any(0)
        wrong, what = ~np.isfinite(result.cg[..., exists]), "gradient"
    if wrong.any():
        notes.warning(
            "%s of %s are not numbers (NaN or infinite): the model computes such values there; "
            "check its weights and its dtype",
            f"{wrong.sum():,}",
            counted(wrong.size, what),
        )


def _document(result: Sweep | Gradients, frame: pd.DataFrame) -> dict[str, Any]:
    about: dict[str, Any] = {
        "kind": type(result).__name__,
        "model": result.model,
        "dtype": result.dtype,
        "site": result.site,
    }
    if isinstance(result, Sweep):
        about |= {"axis": result.axis, "method": result.method, "rows": result.rows}
    return about | {"neurons": frame.to_dict(orient="records")}
