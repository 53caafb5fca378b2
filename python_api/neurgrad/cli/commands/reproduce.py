"""``negkernel reproduce``: the paper's tables and figures on a model of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.artefacts import OF_PROMPTS, OF_TASKS
from neurgrad.cli.reading.asked import TaskOptions
from neurgrad.cli.reading.options import PromptsOption
from neurgrad.cli.reading.outputs import check_plot_folder
from neurgrad.cli.reading.prompt_files import read_prompts
from neurgrad.cli.running.task_study import study_tasks
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import step
from neurgrad.cli.showing.progress import progress
from neurgrad.cli.showing.terminal import tell

EPILOG = "Example: [bold]negkernel reproduce fig3 --model demo --limit 4 --output study[/]"


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(TaskOptions):
    """What ``reproduce`` can be asked: the options of tasks and those of prompts."""

    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help=f"Of prompts: {', '.join(OF_PROMPTS)}. Of tasks: {', '.join(OF_TASKS)}. Or all.",
        ),
    ] = None
    prompts: PromptsOption = None
    seed: Annotated[int, typer.Option(help="Of the random neurons.", min=0, max=2**32 - 1)] = 0
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Tables, figures and a page go there."),
    ] = Path("reproduced")


def reproduce(asked: ReproduceOptions) -> None:
    """Compute the paper's tables and figures; finished ones are taken up again.

    Prompts that the model does not answer correctly are left out and counted.
    The embedded models are asked their own facts where no file is given.
    With --task, or for artefacts of tasks, this is `negkernel probe`.
    """
    if not _of_tasks(asked):
        _of_prompts(asked, _read(asked))
        return
    if asked.prompts is not None:
        refuse("--prompts", f"{str(asked.prompts)!r}: tasks have prompts of their own")
    study_tasks(asked, asked.names or ["all"])


def _read(asked: ReproduceOptions) -> tuple[list[str], list[str]] | None:
    """Check the options of artefacts of prompts; None asks a demo model its own facts."""
    from neurgrad.cli.reading.models import DEMO

    only_tasks = {
        "--shots": asked.shots,
        "--labels": asked.labels,
        "--root": asked.root,
        "--light": asked.light,
    }
    for option, value in only_tasks.items():
        if value:
            refuse(option, "is for artefacts of tasks; name some, or a --task")
    if asked.prompts is None and asked.model not in DEMO:
        refuse("--prompts", "missing: only the embedded models have prompts of their own")
    if asked.limit is not None and asked.limit < 1:
        refuse("--limit", f"{asked.limit}: expected at least 1")
    with blame("--output", asked.output):
        check_plot_folder(asked.output)
    if asked.prompts is None:
        return None
    with blame("--prompts", asked.prompts):
        return read_prompts(asked.prompts)


def _of_prompts(asked: ReproduceOptions, given: tuple[list[str], list[str]] | None) -> None:
    with step(f"loading {asked.model}"):
        from neurgrad import analysis, demo
        from neurgrad.analysis.reproduce import chosen
        from neurgrad.cli.reading.models import DEMO, load_engine

        with blame("NAME", " ".join(asked.names or [])):
            wanted = chosen(asked.names or ["all"])
        engine = load_engine(asked.model, asked.dtype, asked.device)
    if given is None:
        # Every fact once, in a phrasing drawn at random, in random order.
        facts = demo.prompts(DEMO[asked.model]).sample(frac=1, random_state=asked.seed)
        facts = facts.drop_duplicates(["relation", "subject"])
        given = facts["prompt"].tolist(), facts["answer"].tolist()
    with progress(len(wanted), 0, "artefacts") as advance:

        def finished(name: str) -> None:
            advance(1)

        page = analysis.reproduce(
            engine,
            *given,
            asked.output,
            names=wanted,
            seed=asked.seed,
            limit=asked.limit,
            advance=finished,
        )
    if asked.json:
        print_json({"page": str(page), "artefacts": list(wanted)})
    else:
        tell(f"Wrote {page}")


def _of_tasks(asked: ReproduceOptions) -> bool:
    """Whether artefacts of tasks are asked for; refuses unknown names and a mixture."""
    names, known = asked.names or ["all"], (*OF_PROMPTS, *OF_TASKS)
    for name in names:
        if name != "all" and name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            refuse("NAME", f"{name!r} is not an artefact: {hint}expected all or {', '.join(known)}")
    of_prompts = [name for name in names if name in OF_PROMPTS]
    of_tasks = [name for name in names if name in OF_TASKS]
    if of_prompts and (of_tasks or asked.task):
        what = of_tasks[0] if of_tasks else "--task"
        refuse("NAME", f"{of_prompts[0]} is of prompts and {what} of tasks: give two commands")
    return bool(of_tasks or asked.task)
