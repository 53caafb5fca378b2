"""The list of commands, and how an error reaches the user: in one line, with exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from neurgrad.cli.demo import demo
from neurgrad.cli.grad import grad
from neurgrad.cli.info import info
from neurgrad.cli.sweep import sweep

EXAMPLE = (
    'Example: [bold]negkernel {} --model demo --prompt "The capital of France is" --target Paris[/]'
)

app = typer.Typer(
    name="negkernel",
    help="Shift neurons of a language model and read what happens to a word's probability.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    epilog="First steps:  negkernel demo",
)
app.command()(demo)
app.command(epilog=EXAMPLE.format("sweep"))(sweep)
app.command(epilog=EXAMPLE.format("grad"))(grad)
app.command()(info)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see :func:`neurgrad.cli.main`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        status = command.main(given, prog_name="negkernel", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(error.format_message())
    except (ValueError, IndexError, NotImplementedError, OSError) as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return int(status or 0)


def _refuse(message: str) -> int:
    # The argument parser says "Value error, " before a message of its own.
    line = " ".join(message.replace("Value error, ", "").split())
    print(f"negkernel: {line}", file=sys.stderr)
    return 2
