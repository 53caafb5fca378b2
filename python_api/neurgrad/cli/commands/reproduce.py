"""``negkernel reproduce``: the paper's tables and figures on a model of one's own."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.options import DeviceOption, DTypeOption, ModelOption, PromptsOption
from neurgrad.cli.reading.task_options import ARTEFACTS as OF_TASKS
from neurgrad.cli.reading.task_options import (
    LabelsOption,
    LightOption,
    RootOption,
    ShotsOption,
    SplitsOption,
    TaskOption,
)
from neurgrad.cli.running.task_study import TaskStudy

EPILOG = "Example: [bold]negkernel reproduce fig3 --model demo --limit 4 --output study[/]"

# Spelled out here because their home imports torch; a test holds them against it.
OF_PROMPTS = (
    "fig2",
    "table1",
    "table2",
    "fig3",
    "fig4",
    "fig5",
    "table5",
    "fig10",
    "fig11",
    "fig12",
    "fig13",
    "fig14",
)


def reproduce(
    model: ModelOption,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help=f"Of prompts: {', '.join(OF_PROMPTS)}. Of tasks: {', '.join(OF_TASKS)}. Or all.",
        ),
    ] = None,
    prompts: PromptsOption = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Most prompts to use; by default all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random neurons.")] = 0,
    task: TaskOption = None,
    shots: ShotsOption = None,
    splits: SplitsOption = "both",
    labels: LabelsOption = None,
    root: RootOption = None,
    light: LightOption = False,
    dtype: DTypeOption = "auto",
    device: DeviceOption = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Tables, figures and a page go there.")
    ] = Path("reproduced"),
) -> None:
    """Compute the paper's tables and figures; finished ones are taken up again.

    Prompts that the model does not answer correctly are left out and counted.
    The embedded models are asked their own facts where no file is given.
    With --task, or for artefacts of tasks, this is `negkernel probe`.
    """
    if _of_tasks(names or ["all"], task):
        if prompts is not None:
            refuse("--prompts", f"{str(prompts)!r}: tasks have prompts of their own")
        study = TaskStudy(
            model=model,
            dtype=dtype,
            device=device,
            tasks=task or (["paws"] if names == ["fig7"] else []),
            shots=shots or [],
            splits=splits,
            limit=limit,
            labels=labels,
            root=root,
            light=light,
            output=output,
        )
        study.run(names or ["all"])
        return
    given = {"--shots": shots, "--labels": labels, "--root": root, "--light": light}
    for option, value in given.items():
        if value:
            refuse(option, "is for artefacts of tasks; name some, or a --task")

    from neurgrad.cli.reading.models import DEMO
    from neurgrad.cli.reading.outputs import check_plot_folder
    from neurgrad.cli.reading.prompt_files import read_prompts

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
    from neurgrad.cli.reading.models import load_engine
    from neurgrad.cli.showing.messages import messages
    from neurgrad.cli.showing.progress import progress

    with blame("NAME", " ".join(names or [])):
        wanted = chosen(names or ["all"])
    engine = load_engine(model, dtype, device)
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


def _of_tasks(names: list[str], tasks: list[str] | None) -> bool:
    """Whether artefacts of tasks are asked for; refuses unknown names and a mixture."""
    known = (*OF_PROMPTS, *OF_TASKS)
    for name in names:
        if name != "all" and name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            refuse("NAME", f"{name!r} is not an artefact: {hint}expected all or {', '.join(known)}")
    of_prompts = [name for name in names if name in OF_PROMPTS]
    of_tasks = [name for name in names if name in OF_TASKS]
    if of_prompts and (of_tasks or tasks):
        what = of_tasks[0] if of_tasks else "--task"
        refuse("NAME", f"{of_prompts[0]} is of prompts and {what} of tasks: give two commands")
    return bool(of_tasks or tasks)
