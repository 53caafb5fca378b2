"""Errors that name the option they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

# What the library raises for input, and what Python, torch and transformers raise for it.
OF_INPUT = (
    ValueError,
    IndexError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    ModuleNotFoundError,
)


def refuse(option: str, reason: str) -> NoReturn:
    """Raise the error that ends the command with one line and status 2."""
    raise typer.BadParameter(reason, param_hint=option)


def why(error: BaseException) -> str:
    """Return what an error says, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return str(error) or "there is not enough memory"
    return str(error) or type(error).__name__


@contextmanager
def blame(option: str, value: object = None) -> Iterator[None]:
    """Turn errors of the library inside the ``with`` block into errors of an option.

    Parameters
    ----------
    option : str
        The option as the user wrote it, such as ``--neurons``.
    value : object
        What the user gave, shown before the reason unless it is None.
    """
    try:
        yield
    except OF_INPUT as error:
        reason = why(error)
        message = reason if value is None else f"{str(value)!r}: {reason}"
        raise typer.BadParameter(message, param_hint=option) from error
