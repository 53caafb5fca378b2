"""Gather the options of a command in a class, and make a command of such a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from neurgrad.cli.reading import options as o
from neurgrad.cli.reading import task_options as t
from neurgrad.cli.reading.artefacts import OF_TASKS

_MANNER = "Output"


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How a command speaks; the last options of every command."""

    json: Annotated[
        bool,
        typer.Option("--json", help="Print the results as JSON.", rich_help_panel=_MANNER),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing but warnings.", rich_help_panel=_MANNER),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Say which ways were taken.", rich_help_panel=_MANNER),
    ] = False
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show where an error arose.", rich_help_panel=_MANNER),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Manners):
    """Which model, and where."""

    model: o.ModelOption
    dtype: o.DTypeOption = "auto"
    device: o.DeviceOption = None
    device_map: o.DeviceMapOption = None
    offload: o.OffloadOption = None
    quantize: o.QuantizeOption = None
    memory: o.MemoryOption = None


@dataclass(frozen=True, kw_only=True)
class JobOptions(ModelOptions):
    """What ``grad`` can be asked, and ``sweep`` too."""

    prompt: o.PromptOption = None
    target: o.TargetOption = None
    prompts: o.PromptsOption = None
    chat: o.ChatOption = False
    target_prefix: o.TargetPrefixOption = "auto"
    target_tokens: o.TargetTokensOption = "one"
    mask_index: o.MaskIndexOption = None
    neurons: o.NeuronsOption = "top:16"
    site: o.SiteOption = "paper"
    position: o.PositionOption = None
    seed: o.SeedOption = 0
    method: o.MethodOption = "auto"
    dry_run: o.DryRunOption = False
    resume: o.ResumeOption = False
    shard: o.ShardOption = None
    ray: o.RayOption = None
    output: o.OutputOption = None
    plot: o.PlotOption = None


@dataclass(frozen=True, kw_only=True)
class SweepOptions(JobOptions):
    """What ``sweep`` can be asked."""

    shifts: o.ShiftsOption = o.PAPER_SHIFTS
    axis: o.AxisOption = "magnitude"
    resolution: o.ResolutionOption = "grid"
    tol: o.TolOption = 1e-3


@dataclass(frozen=True, kw_only=True)
class TaskOptions(ModelOptions):
    """What ``probe`` can be asked, and ``reproduce`` too."""

    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help=f"{', '.join(OF_TASKS)}, or all; by default table3."
        ),
    ] = None
    task: t.TaskOption = None
    shots: t.ShotsOption = None
    splits: t.SplitsOption = "both"
    limit: t.LimitOption = None
    test_limit: t.TestLimitOption = None
    labels: t.LabelsOption = None
    root: t.RootOption = None
    light: t.LightOption = False
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Features, tables, figures and a page go there."
        ),
    ] = Path("skills")


Asked = TypeVar("Asked", bound=Manners)


def command(asked: type[Asked], run: Callable[[Asked], int | None]) -> Callable[..., int]:
    """Return a function whose parameters are the fields of a class of options.

    Parameters
    ----------
    asked : dataclass
        Each field's annotation is that of a typer parameter.
    run : callable
        Takes an instance; its docstring is the command's help.
    """

    def parsed(**given: Any) -> int:
        from neurgrad.cli.showing.messages import messages

        options = asked(**given)
        with messages(quiet=options.quiet, verbose=options.verbose):
            return run(options) or 0

    hints = get_type_hints(asked, include_extras=True)
    manners = {field.name for field in fields(Manners)}
    own = [field for field in fields(asked) if field.name not in manners]
    ordered = own + [field for field in fields(asked) if field.name in manners]
    parsed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(field, hints[field.name]) for field in ordered]
    )
    parsed.__doc__, parsed.__name__ = run.__doc__, run.__name__
    parsed.__annotations__ = {}
    return parsed


def _parameter(field: Field[Any], annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=default, annotation=annotation)
