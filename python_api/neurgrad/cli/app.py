"""The list of commands, and how an error reaches the user: in one line, with exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from negkernel import __version__
from neurgrad.cli.commands.data import data
from neurgrad.cli.commands.demo import DemoOptions, demo
from neurgrad.cli.commands.grad import grad
from neurgrad.cli.commands.info import InfoOptions, info
from neurgrad.cli.commands.join import JoinOptions, join
from neurgrad.cli.commands.neg_map import NegMapOptions, neg_map
from neurgrad.cli.commands.probe import EPILOG as PROBE_EPILOG
from neurgrad.cli.commands.probe import probe
from neurgrad.cli.commands.prompts import EPILOG as PROMPTS_EPILOG
from neurgrad.cli.commands.prompts import PromptsOptions, prompts
from neurgrad.cli.commands.reproduce import EPILOG, ReproduceOptions, reproduce
from neurgrad.cli.commands.sweep import sweep
from neurgrad.cli.errors import OF_INPUT, why
from neurgrad.cli.reading.asked import JobOptions, SweepOptions, TaskOptions, command
from neurgrad.cli.showing.terminal import line

EXAMPLE = (
    'Example: [bold]negkernel {} --model demo --prompt "The capital of France is" --target Paris[/]'
)

app = typer.Typer(
    name="negkernel",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps:  negkernel demo",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"negkernel {__version__}")
        raise typer.Exit


@app.callback()
def negkernel(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Shift neurons of a language model and read what happens to a word's probability."""


app.command()(command(DemoOptions, demo))
app.command(epilog=EXAMPLE.format("sweep"))(command(SweepOptions, sweep))
app.command(epilog=EXAMPLE.format("grad"))(command(JobOptions, grad))
app.command()(command(JoinOptions, join))
app.command("neg-map", epilog=EXAMPLE.format("neg-map") + " --output map.csv")(
    command(NegMapOptions, neg_map)
)
app.command(epilog=PROMPTS_EPILOG)(command(PromptsOptions, prompts))
app.command(epilog=EPILOG)(command(ReproduceOptions, reproduce))
app.command(epilog=PROBE_EPILOG)(command(TaskOptions, probe))
app.add_typer(data, name="data")
app.command()(command(InfoOptions, info))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see :func:`neurgrad.cli.main`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in ([], ["data"]):  # what has commands of its own
        given.append("--help")
    if "_NEGKERNEL_COMPLETE" in os.environ:  # a shell asks what could come next
        app(prog_name="negkernel")
    try:
        # Not `main`, which turns Ctrl-C into an error of its own after an empty line.
        with typer.main.get_command(app).make_context("negkernel", list(given)) as context:
            status = context.command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as exit:
        return exit.exit_code
    except KeyboardInterrupt as stop:
        line.fail(" ".join(["stopped", *getattr(stop, "__notes__", [])]))
        return 130
    except BrokenPipeError:
        # Whoever read the output has left; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if "--debug" in given:
            import traceback

            line.end()
            traceback.print_exc()
        if message := _one_line(error, given).strip():
            line.fail(message)
        return 2
    return int(status or 0)


def _one_line(error: Exception, given: Sequence[str]) -> str:
    if isinstance(error, typer.TyperException):
        return _with_value(error.format_message(), given)
    if isinstance(error, (*OF_INPUT, MemoryError)):
        return why(error)
    return f"{type(error).__name__}, which was not foreseen: {why(error)} (--debug shows where)"


def _with_value(message: str, given: Sequence[str]) -> str:
    """Add what was given for the option that `message` names, where it does not say."""
    # The argument parser says "Value error, " before a message of its own.
    message = message.replace("Value error, ", "")
    for place, argument in enumerate(given):
        option, has_value, value = argument.partition("=")
        if not option.startswith("--") or f"'{option}'" not in message:
            continue
        if not has_value:
            value = given[place + 1] if place + 1 < len(given) else ""
        if value not in message:
            return f"{message} (given {value!r})"
    return message
