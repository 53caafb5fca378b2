"""What a user asked for: options read and checked as far as that needs no model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.asked import JobOptions, SweepOptions
from neurgrad.cli.reading.neurons import Choice, parse_neurons
from neurgrad.cli.reading.outputs import STDOUT, check_output, check_plot_folder, run_folder
from neurgrad.cli.reading.placement import check_placement
from neurgrad.cli.reading.prompt_files import read_prompts
from neurgrad.cli.reading.shifts import parse_shifts

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Job:
    """A sweep, or gradients where ``shifts`` is None.

    Attributes
    ----------
    asked : JobOptions
        The options as given.
    prompts, targets : list of str
    neurons : Choice
    shifts : float array [J] or None
    output : Path or None
        The file to write; None also where that is stdout.
    position : int, "all" or None
    part : (int, int) or None
        Compute every so-many-th shard only, from which one on, and join none.
    """

    asked: JobOptions
    prompts: list[str]
    targets: list[str]
    neurons: Choice
    shifts: np.ndarray | None
    output: Path | None
    position: int | str | None
    part: tuple[int, int] | None = None

    def settings(self) -> dict[str, Any]:
        """Return what the results depend on, beside the model and the prompts."""
        asked = self.asked
        shared = {
            "--neurons": asked.neurons,
            "--site": asked.site,
            "--position": self.position,
            "--method": asked.method,
            "--target-prefix": asked.target_prefix,
            "--target-tokens": asked.target_tokens,
            "--mask-index": asked.mask_index,
            "--seed": asked.seed,
        }
        if not isinstance(asked, SweepOptions):
            return {"command": "grad", **shared}
        return {
            "command": "sweep",
            **shared,
            "--shifts": asked.shifts,
            "--axis": asked.axis,
            "--resolution": asked.resolution,
            "--tol": asked.tol,
        }


def read_job(asked: JobOptions) -> Job:
    """Read the options of ``sweep`` and ``grad``.

    Raises
    ------
    typer.BadParameter
        An option that cannot be used; the message names it and its value.
    """
    output = None if asked.output == STDOUT else asked.output
    if asked.json and asked.output == STDOUT:
        refuse("--output", "'-': with --json the results go to stdout already; leave one out")
    if output is not None:
        with blame("--output", output):
            check_output(output)
    if asked.plot is not None:
        with blame("--plot", asked.plot):
            check_plot_folder(asked.plot)
    part = None if asked.shard is None else _part(asked.shard)
    if part is not None and output is None:
        refuse("--shard", f"{asked.shard!r}: needs the --output FILE of the run that is shared")
    _check_resume(output, asked.resume or part is not None)
    with blame("--neurons", asked.neurons):
        choice = parse_neurons(asked.neurons)
    grid = None
    if isinstance(asked, SweepOptions):
        if not 0 < asked.tol < 1:
            refuse("--tol", f"{asked.tol}: expected a number between 0 and 1")
        with blame("--shifts", asked.shifts):
            grid = parse_shifts(asked.shifts)
    check_placement(asked)
    prompts, targets = given_prompts(asked.prompt or [], asked.target or [], asked.prompts)
    position = read_position(asked.position)
    return Job(asked, prompts, targets, choice, grid, output, position, part)


def _part(text: str) -> tuple[int, int]:
    """Read ``i/n``, i from 0 to n - 1 or from 1 to n: first shard and step."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None:
        refuse("--shard", f"{text!r}: expected i/n, as 1/4")
    i, n = int(found[1]), int(found[2])
    if not (n and i <= n):
        refuse("--shard", f"{text!r}: expected i from 0 to n - 1, or from 1 to n")
    return i % n, n


def read_position(text: str | None) -> int | str | None:
    """Return where neurons are shifted: None, a token or all."""
    if text is None or text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        refuse("--position", f"{text!r}: expected an integer, or all")


def given_prompts(
    prompt: list[str], target: list[str], file: Path | None
) -> tuple[list[str], list[str]]:
    """Return prompts and targets, from options or from a file."""
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
    from negkernel.results.group import Group
    from negkernel.results.ledger import busy
    from negkernel.results.manifest import FILE, Manifest

    begun, group = (folder / FILE).stat().st_mtime, Group.here()
    ours = group is not None and begun >= group.since
    if not (resume or ours or busy(folder)):  # of those at work on it, this process becomes one
        refuse(
            "--output",
            f"{str(output)!r}: an unfinished run towards it is kept in {folder}; add --resume to "
            "go on, or delete that folder",
        )
    with blame("--resume" if resume else "--output"):
        Manifest.read(folder)
