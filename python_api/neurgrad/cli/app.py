"""The list of commands, and how an error reaches the user: in one line, with exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from negkernel import __version__
from neurgrad.cli.commands.data import data
from neurgrad.cli.commands.demo import demo
from neurgrad.cli.commands.grad import grad
from neurgrad.cli.commands.info import info
from neurgrad.cli.commands.probe import EPILOG as PROBE_EPILOG
from neurgrad.cli.commands.probe import probe
from neurgrad.cli.commands.reproduce import EPILOG, reproduce
from neurgrad.cli.commands.sweep import sweep

EXAMPLE = (
    'Example: [bold]negkernel {} --model demo --prompt "The capital of France is" --target Paris[/]'
)

app = typer.Typer(
    name="negkernel",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
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


app.command()(demo)
app.command(epilog=EXAMPLE.format("sweep"))(sweep)
app.command(epilog=EXAMPLE.format("grad"))(grad)
app.command(epilog=EPILOG)(reproduce)
app.command(epilog=PROBE_EPILOG)(probe)
app.add_typer(data, name="data")
app.command()(info)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see :func:`neurgrad.cli.main`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        status = command.main(given, prog_name="negkernel", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(_with_value(error.format_message(), given))
    except (
        ValueError,
        IndexError,
        NotImplementedError,
        OSError,
        ModuleNotFoundError,
    ) as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return int(status or 0)


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


def _refuse(message: str) -> int:
    print(f"negkernel: {' '.join(message.split())}", file=sys.stderr)
    return 2
