"""``negkernel prompts``: keep the prompts of a file whose answers a model knows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading import options as o
from neurgrad.cli.reading.asked import ModelOptions
from neurgrad.cli.reading.outputs import check_csv
from neurgrad.cli.reading.prompt_files import read_table
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import step
from neurgrad.cli.showing.progress import progress
from neurgrad.cli.showing.spreadsheets import write_csv
from neurgrad.cli.showing.terminal import tell

EPILOG = (
    "Example: [bold]negkernel prompts --model PATH facts.csv --template "
    "'The capital of {country} is' --output known.csv[/]"
)


@dataclass(frozen=True, kw_only=True)
class PromptsOptions(ModelOptions):
    """What ``prompts`` can be asked."""

    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSON, JSONL, Parquet or feather: a column 'answer' (or 'options' with "
            "'label'), and those that the templates name.",
            show_default=False,
        ),
    ]
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="Columns in braces; {sentence} is a row's sentence with [MASK] or [Y], {before} "
            "what stands before such a blank at its end. Repeatable: the likeliest is kept.",
        ),
    ] = None
    probability: Annotated[
        float | None,
        typer.Option(
            "--probability",
            metavar="P",
            help="Keep answers at least this likely; by default those ranked first.",
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Stop at so many.", min=1)
    ] = None
    chat: o.ChatOption = False
    target_prefix: o.TargetPrefixOption = "auto"
    mask_index: o.MaskIndexOption = None
    seed: Annotated[int, typer.Option(help="Of the facts' order.", min=0, max=2**32 - 1)] = 0
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="CSV, for --prompts.")
    ] = Path("known.csv")


def prompts(asked: PromptsOptions) -> None:
    """Keep the facts of a file that a model knows, as prompts for the other commands.

    Rows are asked in random order, and counted: known, unknown, answers of several tokens.
    """
    if asked.probability is not None and not 0 < asked.probability <= 1:
        refuse("--probability", f"{asked.probability}: expected above 0 and at most 1")
    with blame("--output", asked.output):
        check_csv(asked.output)
    with step(f"reading {asked.file}"):
        import numpy as np
        import pandas as pd

        from negkernel.results.files import replace_file
        from neurgrad.cli.reading.models import apply_chat, load_engine
        from neurgrad.facts import facts_of, keep_known
        from neurgrad.facts.tables import check_template, default_template

        with blame("FILE", asked.file):
            facts = facts_of(*read_table(asked.file))
        with blame("--template"):
            for template in asked.template or []:
                check_template(template, facts)
    with step(f"loading {asked.model}"):
        engine = load_engine(asked)
        if asked.chat:
            apply_chat(engine, [])
    with blame("--template"):
        templates = asked.template or [default_template(facts, masked=engine.task == "masked")]
    order = np.random.default_rng(asked.seed).permutation(len(facts))
    with progress(len(facts), 0, "facts") as advance:
        known = keep_known(
            engine,
            [facts[i] for i in order],
            templates,
            least=asked.probability,
            limit=asked.limit,
            dress=partial(apply_chat, engine) if asked.chat else lambda prompts: prompts,
            advance=advance,
            target_prefix=asked.target_prefix,
            mask_index=asked.mask_index,
        )
    if not known.rows:
        refuse("FILE", f"{str(asked.file)!r}: {known}; {known.advice()}")
    frame = pd.DataFrame(known.rows)
    with blame("--output", asked.output):
        replace_file(asked.output, partial(write_csv, frame))
    if asked.json:
        counts = {name: value for name, value in vars(known).items() if name != "rows"}
        print_json({"output": str(asked.output), "known": len(known.rows), **counts})
        return
    tell(known)
    tell(f"Wrote {asked.output}")
