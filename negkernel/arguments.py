"""Check arguments that are no arrays, and name what was expected in place of a wrong one."""

from __future__ import annotations

import os
from collections.abc import Collection
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

LONGEST = 80


def shown(value: object) -> str:
    """Return what a message shows of a value: its representation, on one line, cut if long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of the words that there are to choose from.

    Raises
    ------
    ValueError
    """
    # Asked for first, since arrays compare with every word.
    if not isinstance(value, str) or value not in choices:
        words = [repr(choice) for choice in choices]
        listed = " or ".join(words) if len(words) == 2 else f"one of {', '.join(words)}"
        raise ValueError(f"{name} {shown(value)} is unknown; expected {listed}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {shown(value)}; expected True or False")
    return bool(value)


def check_number(
    name: str,
    value: Any,
    expected: str = "a finite number",
    *,
    above: float = -inf,
    below: float = inf,
) -> float:
    """Return ``value`` as a float if it is a number between the two, and finite.

    Raises
    ------
    ValueError
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = inf
        if above < number < below:
            return number
    raise ValueError(f"{name} is {shown(value)}; expected {expected}")


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return ``value`` as an int if it is an integer from ``least`` to ``most``.

    Raises
    ------
    ValueError
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if least <= number and (most is None or number <= most):
            return number
    within = f"of at least {least}" if most is None else f"between {least} and {most}"
    raise ValueError(f"{name} is {shown(value)}; expected an integer {within}")


def check_path(name: str, value: Any) -> Path:
    """Return ``value`` as a path if it can name a file or a folder.

    Raises
    ------
    ValueError
    """
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
        text = os.fspath(value)
        if text and "\0" not in text:
            return Path(text)
    raise ValueError(f"{name} is {shown(value)}; expected a path as str or pathlib.Path")


def check_kind(name: str, value: Any, *kinds: type) -> None:
    """Refuse a value that is of none of the classes.

    Raises
    ------
    TypeError
    """
    if not isinstance(value, kinds):
        listed = " or ".join(f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in kinds)
        raise TypeError(f"{name} is {shown(value)}; expected a {listed}")


def check_index(name: str, value: Any, size: int) -> int:
    """Return ``value`` as an int if it counts one of ``size`` things, from 0.

    Raises
    ------
    ValueError
        It is no integer.
    IndexError
        There is no such one; negative ones are refused, not wrapped.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{name} is {shown(value)}; expected an integer, counted from 0")
    if not 0 <= int(value) < size:
        raise IndexError(f"{name} is {shown(value)}; expected 0 <= {name} < {size}")
    return int(value)
