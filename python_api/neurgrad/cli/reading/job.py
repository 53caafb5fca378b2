"""What a user asked for: options read and checked as far as that needs no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.neurons import Choice, parse_neurons
from neurgrad.cli.reading.outputs import check_output, check_plot_folder, run_folder
from neurgrad.cli.reading.prompt_files import read_prompts
from neurgrad.cli.reading.shifts import parse_shifts

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Job:
    """A sweep, or gradients where ``shifts`` is None; fields are the options' values, read."""

    model: str
    dtype: str
    device: str | None
    prompts: list[str]
    targets: list[str]
    file: Path | None
    chat: bool
    target_prefix: str
    mask_index: int | None
    neurons: Choice
    neurons_text: str
    site: str
    method: str
    seed: int
    dry_run: bool
    resume: bool
    output: Path | None
    plot: Path | None
    position: int | str | None = None
    shifts: np.ndarray | None = None
    shifts_text: str = ""
    axis: str = "magnitude"
    resolution: str = "grid"
    tol: float = 1e-3

    def settings(self) -> dict[str, Any]:
        """Return what the results depend on, beside the model and the prompts."""
        shared = {
            "--neurons": self.neurons_text,
            "--site": self.site,
            "--position": self.position,
            "--method": self.method,
            "--target-prefix": self.target_prefix,
            "--mask-index": self.mask_index,
            "--seed": self.seed,
        }
        if self.shifts is None:
            return {"command": "grad", **shared}
        return {
            "command": "sweep",
            **shared,
            "--shifts": self.shifts_text,
            "--axis": self.axis,
            "--resolution": self.resolution,
            "--tol": self.tol,
        }


def read_job(
    *,
    prompt: list[str] | None,
    target: list[str] | None,
    prompts: Path | None,
    neurons: str,
    output: Path | None,
    plot: Path | None,
    resume: bool,
    position: str | None = None,
    shifts: str | None = None,
    tol: float = Job.tol,
    **options: Any,
) -> Job:
    """Read the options of ``sweep`` and ``grad``.

    Raises
    ------
    typer.BadParameter
        An option that cannot be used; the message names it and its value.
    """
    if output is not None:
        with blame("--output", output):
            check_output(output)
    if plot is not None:
        with blame("--plot", plot):
            check_plot_folder(plot)
    if not 0 < tol < 1:
        refuse("--tol", f"{tol}: expected a number between 0 and 1")
    _check_resume(output, resume)
    with blame("--neurons", neurons):
        choice = parse_neurons(neurons)
    grid = None
    if shifts is not None:
        with blame("--shifts", shifts):
            grid = parse_shifts(shifts)
    texts, words = _prompts(prompt or [], target or [], prompts)
    return Job(
        prompts=texts,
        targets=words,
        file=prompts,
        neurons=choice,
        neurons_text=neurons,
        position=_position(position),
        shifts=grid,
        shifts_text=shifts or "",
        output=output,
        plot=plot,
        resume=resume,
        tol=tol,
        **options,
    )


def _position(text: str | None) -> int | str | None:
    if text is None or text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        refuse("--position", f"{text!r}: expected an integer, or all")


def _prompts(
    prompt: list[str], target: list[str], file: Path | None
) -> tuple[list[str], list[str]]:
    if file is not None:
        if prompt:
            refuse("--prompts", f"{str(file)!r}: give either --prompt or --prompts, not both")
        if target:
            refuse("--target", f"{target[0]!r}: with --prompts the answers come from the file")
        with blame("--prompts", file):
            return read_prompts(file)
    if not prompt:
        refuse("--prompt", "missing: give --prompt with --target, or --prompts FILE")
    if len(prompt) != len(target):
        refuse("--target", f"{len(target)} given for {len(prompt)} --prompt; give one for each")
    for option, values in (("--prompt", prompt), ("--target", target)):
        if empty := [value for value in values if not value.strip()]:
            refuse(option, f"{empty[0]!r} is empty")
    return prompt, target


def _check_resume(output: Path | None, resume: bool) -> None:
    if output is None:
        if resume:
            refuse("--resume", "needs the --output FILE of the run to go on with")
        return
    folder = run_folder(output)
    if not (folder / "manifest.json").exists():
        return
    from negkernel.results.ledger import busy
    from negkernel.results.manifest import Manifest

    if not resume and not busy(folder):  # of those at work on it, this process becomes one
        refuse(
            "--output",
            f"{str(output)!r}: an unfinished run towards it is kept in {folder}; add --resume to "
            "go on, or delete that folder",
        )
    with blame("--resume" if resume else "--output"):
        Manifest.read(folder)
