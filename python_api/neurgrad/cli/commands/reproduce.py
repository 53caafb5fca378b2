"""``negkernel reproduce``: the paper's tables and figures on a model of one's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading import options as o
from neurgrad.cli.reading.artefacts import OF_PROMPTS, OF_TASKS
from neurgrad.cli.reading.asked import TaskOptions
from neurgrad.cli.reading.outputs import check_plot_folder
from neurgrad.cli.reading.prompt_files import read_prompts
from neurgrad.cli.running.task_study import study_tasks
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import notes, step
from neurgrad.cli.showing.progress import progress
from neurgrad.cli.showing.tables import grid
from neurgrad.cli.showing.terminal import console, tell

if TYPE_CHECKING:
    from neurgrad.analysis import Settings

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
    prompts: o.PromptsOption = None
    chat: o.ChatOption = False
    target_prefix: o.TargetPrefixOption = "auto"
    mask_index: o.MaskIndexOption = None
    neurons: Annotated[
        int, typer.Option("--neurons", metavar="N", help="Random neurons of a prompt.", min=1)
    ] = 100
    radius: Annotated[
        float, typer.Option("--radius", metavar="R", help="Shifts lie within +-R.")
    ] = 2.0
    site: o.SiteOption = "paper"
    estimators: Annotated[
        str, typer.Option("--estimators", metavar="A,B,...", help="Of table2 and fig3.")
    ] = "CG,IG,LPI,NeurGrad"
    map_prompts: Annotated[
        int,
        typer.Option("--map-prompts", metavar="N", help="Prompts of which all neurons are.", min=1),
    ] = 10
    range_prompts: Annotated[
        int, typer.Option("--range-prompts", metavar="N", help="Prompts of fig2.", min=1)
    ] = 10
    many_prompts: Annotated[
        int | None,
        typer.Option("--many-prompts", metavar="N", help="Prompts of fig5; all else.", min=1),
    ] = None
    dry_run: o.DryRunOption = False
    seed: Annotated[int, typer.Option(help="Of the random neurons.", min=0, max=2**32 - 1)] = 0
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Tables, figures and a page go there."),
    ] = Path("reproduced")


def reproduce(asked: ReproduceOptions) -> None:
    """Compute the paper's tables and figures; finished ones are taken up again.

    Prompts that the model does not answer correctly are left out and counted. What was measured is
    kept as Parquet, a row for each prompt and neuron; summaries have intervals over prompts.
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
        "--test-limit": asked.test_limit,
    }
    for option, value in only_tasks.items():
        if value:
            refuse(option, "is for artefacts of tasks; name some, or a --task")
    if asked.prompts is None and asked.model not in DEMO:
        refuse("--prompts", "missing: only the embedded models have prompts of their own")
    if asked.limit is not None and asked.limit < 1:
        refuse("--limit", f"{asked.limit}: expected at least 1")
    if not 0 < asked.radius < float("inf"):
        refuse("--radius", f"{asked.radius}: expected a positive number")
    with blame("--output", asked.output):
        check_plot_folder(asked.output)
    if asked.prompts is None:
        return None
    with blame("--prompts", asked.prompts):
        return read_prompts(asked.prompts)


def _of_prompts(asked: ReproduceOptions, given: tuple[list[str], list[str]] | None) -> None:
    with step(f"loading {asked.model}"):
        from neurgrad import analysis
        from neurgrad.analysis.artefacts import chosen
        from neurgrad.cli.reading.models import apply_chat, load_engine
        from neurgrad.cli.running.price import price

        with blame("NAME", " ".join(asked.names or [])):
            wanted = chosen(asked.names or ["all"], analysis.ARTEFACTS)
        with blame("--estimators", asked.estimators):
            settings = _settings(asked)
        engine = load_engine(asked)
    prompts, answers = given or _own_facts(asked)
    if asked.chat:
        prompts = apply_chat(engine, prompts)
    if asked.dry_run:
        some = slice(asked.limit)
        shown = price(engine, prompts[some], answers[some], wanted, settings)
        if asked.json:
            print_json({"tables": shown.to_dict("records")})
        else:
            cells = {str(name): shown[name].tolist() for name in shown}
            console().print(grid("What it would cost, if all prompts are known", cells, left=1))
        return
    most = min(len(prompts), asked.limit or len(prompts))
    notes.info("of %s prompts, up to %s known ones", f"{len(prompts):,}", f"{most:,}")
    try:
        with (
            progress(None, 0, "prompts looked at") as looked,
            progress(len(wanted), 0, "artefacts") as advance,
        ):
            page = analysis.reproduce(
                engine,
                prompts,
                answers,
                asked.output,
                names=wanted,
                limit=asked.limit,
                settings=settings,
                advance={"prompts": looked, "artefacts": lambda name: advance(1)},
            )
    except KeyboardInterrupt as stop:
        stop.add_note(f"and kept what is finished in {asked.output}: the same command goes on")
        raise
    if asked.json:
        print_json({"page": str(page), "artefacts": list(wanted)})
    else:
        tell(f"Wrote {page}")


def _settings(asked: ReproduceOptions) -> Settings:
    from neurgrad.analysis import Settings

    own = {field.name for field in fields(Settings)} - {"estimators"}
    names = tuple(dict.fromkeys(name.strip() for name in asked.estimators.split(",")))
    return Settings(estimators=names, **{name: getattr(asked, name) for name in own})


def _own_facts(asked: ReproduceOptions) -> tuple[list[str], list[str]]:
    """Every fact of a demo model once, in a phrasing drawn at random, in random order."""
    from neurgrad import demo
    from neurgrad.cli.reading.models import DEMO

    facts = demo.prompts(DEMO[asked.model]).sample(frac=1, random_state=asked.seed)
    facts = facts.drop_duplicates(["relation", "subject"])
    return facts["prompt"].tolist(), facts["answer"].tolist()


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
