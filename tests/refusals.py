"""Tell a refusal of ours, which says what was expected, from an error that fell through."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import negkernel
import neurgrad

ROOMS = [Path(package.__file__).parent for package in (negkernel, neurgrad)]
KINDS = (ValueError, TypeError, IndexError, NotImplementedError, FileNotFoundError)
# What to do, or what would have been right, is said in one of these words.
ADVICE = re.compile(
    r"expected|at least|at most|must|needs?|pass |give |choose|load it|create it|call ", re.I
)


def why_unclear(call: Callable[[], Any]) -> str | None:
    """Call it and return None where it was refused clearly, else what is wrong with the refusal.

    Clear is an exception of a documented kind that our own code raised by a ``raise`` statement,
    in one line that says what was expected. Scikit-learn's checks speak for themselves: its
    conformity tests demand its words.
    """
    try:
        found = call()
    except Exception as error:
        return _fault(error)
    return f"accepted; the answer is {found!r:.80}"


def _fault(error: Exception) -> str | None:
    message = str(error)
    step = error.__traceback__
    assert step is not None
    while step.tb_next is not None:
        step = step.tb_next
    path, line_number = Path(step.tb_frame.f_code.co_filename), step.tb_lineno
    if not isinstance(error, KINDS):
        return f"{type(error).__name__} from {path.name}:{line_number}: {message!r}"
    if "sklearn" in path.parts:
        return None
    if not any(room in path.parents for room in ROOMS):
        return f"fell out of {path}: {message!r}"
    line = linecache.getline(str(path), line_number).strip()
    if not line.startswith("raise"):
        return f"fell out of {path.name}:{line_number}, {line!r}: {message!r}"
    if not ADVICE.search(message) or "\n" in message:
        return f"does not say in one line what was expected: {message!r}"
    return None
