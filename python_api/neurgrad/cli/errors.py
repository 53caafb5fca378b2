"""Errors that name the option they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def refuse(option: str, reason: str) -> NoReturn:
    """Raise the error that ends the command with one line and status 2."""
    raise typer.BadParameter(reason, param_hint=option)


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
    except (ValueError, IndexError, NotImplementedError, OSError, RuntimeError) as error:
        refuse(option, f"{error}" if value is None else f"{str(value)!r}: {error}")
