"""``negkernel reproduce``: the paper's tables and figures on a model of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.options import DeviceOption, DTypeOption, ModelOption, PromptsOption

EPILOG = "Example: [bold]negkernel reproduce fig3 --model demo --limit 4 --output study[/]"


def reproduce(
    model: ModelOption,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="table1, table2, fig2, ... or all."),
    ] = None,
    prompts: PromptsOption = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Most prompts to use; by default all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random neurons.")] = 0,
    dtype: DTypeOption = "auto",
    device: DeviceOption = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Tables, figures and a page go there.")
    ] = Path("reproduced"),
) -> None:
    """Compute the paper's tables and figures; finished ones are taken up again.

    Prompts that the model does not answer correctly are left out and counted. The embedded models
    are asked their own facts where no file is given.
    """
    from neurgrad.cli.models import DEMO
    from neurgrad.cli.outputs import check_plot_folder
    from neurgrad.cli.prompt_files import read_prompts

    if prompts is None and model not in DEMO:
        refuse("--prompts", "missing: only the embedded models have prompts of their own")
    if limit is not None and limit < 1:
        refuse("--limit", f"{limit}: expected at least 1")
    with blame("--output", output):
        check_plot_folder(output)
    asked: tuple[list[str], list[str]] | None = None
    if prompts is not None:
        with blame("--prompts", prompts):
            asked = read_prompts(prompts)

    from neurgrad import analysis, demo
    from neurgrad.analysis.reproduce import chosen
    from neurgrad.cli.messages import messages
    from neurgrad.cli.models import load_engine
    from neurgrad.cli.progress import progress

    with blame("NAME", " ".join(names or [])):
        wanted = chosen(names or ["all"])
    engine = load_engine(model, dtype, device, None)
    if asked is None:
        # Every fact once, in a phrasing drawn at random, in random order.
        facts = demo.prompts(DEMO[model]).sample(frac=1, random_state=seed)
        facts = facts.drop_duplicates(["relation", "subject"])
        asked = facts["prompt"].tolist(), facts["answer"].tolist()

    def count(_: str) -> None:
        bar.update(1)

    with messages(), progress(len(wanted), 0, "artefacts") as bar:
        page = analysis.reproduce(
            engine,
            *asked,
            output,
            names=wanted,
            seed=seed,
            limit=limit,
            advance=count,
        )
    print(f"Wrote {page}")
