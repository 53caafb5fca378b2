"""``negkernel neg-map``: the empirical gradient and linearity of every neuron."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading import options as o
from neurgrad.cli.reading.asked import ModelOptions
from neurgrad.cli.reading.job import given_prompts, read_position
from neurgrad.cli.reading.outputs import STDOUT, check_output, check_plot_folder, write_result
from neurgrad.cli.reading.placement import check_placement
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import step
from neurgrad.cli.showing.spreadsheets import write_csv
from neurgrad.cli.showing.terminal import tell


@dataclass(frozen=True, kw_only=True)
class NegMapOptions(ModelOptions):
    """What ``neg-map`` can be asked."""

    prompt: o.PromptOption = None
    target: o.TargetOption = None
    prompts: o.PromptsOption = None
    chat: o.ChatOption = False
    target_prefix: o.TargetPrefixOption = "auto"
    mask_index: o.MaskIndexOption = None
    radius: Annotated[
        float, typer.Option("--radius", help="Shifts go this far to both sides of 0.")
    ] = 2.0
    axis: o.AxisOption = "magnitude"
    site: o.SiteOption = "paper"
    position: o.PositionOption = None
    method: o.MethodOption = "auto"
    tol: o.TolOption = 1e-3
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", metavar="DIR", help="Keep finished portions there, and go on from them."
        ),
    ] = None
    output: o.OutputOption = None


def neg_map(asked: NegMapOptions) -> int:
    """Measure every neuron's empirical gradient (NEG) and linearity, for every prompt."""
    prompts, targets = given_prompts(asked.prompt or [], asked.target or [], asked.prompts)
    position = read_position(asked.position)
    output = None if asked.output == STDOUT else asked.output
    check_placement(asked)
    if output is not None:
        with blame("--output", output):
            check_output(output)
    elif asked.folder is None and asked.output is None and not asked.json:
        refuse("--output", "missing: give --output FILE, or --folder DIR")
    if asked.folder is not None:
        with blame("--folder", asked.folder):
            check_plot_folder(asked.folder)
    with step(f"loading {asked.model}"):
        from neurgrad.cli.reading.models import apply_chat, load_engine

        engine = load_engine(asked)
        prompts = apply_chat(engine, prompts) if asked.chat else prompts
    found = engine.neg_map(
        prompts,
        targets,
        radius=asked.radius,
        tol=asked.tol,
        axis=asked.axis,
        site=asked.site,
        method=asked.method,
        position=position,
        folder=asked.folder,
        progress=False if asked.quiet else None,
        target_prefix=asked.target_prefix,
        mask_index=asked.mask_index,
    )
    if output is not None:
        whole = output.suffix.lower() == ".safetensors"
        write_result(found, None if whole else found.to_frame(), output)
    elif asked.output == STDOUT:
        write_csv(found.to_frame(), None)
        return 0
    if asked.json:
        print_json(
            {"neurons": int(engine.widths.sum()), "prompts": len(prompts), "rows": found.rows}
        )
    else:
        tell(found)
    return 0
