"""Which backend runs an op: every backend answers yes or why not, the first yes wins.

A backend is a module in the op's folder that holds the op under its own name and, with the same
signature, `supports`, which returns None or the reason against. `impl="auto"` walks the backends
in the order given, `NEGKERNEL_BACKEND` puts one of them first, and any other `impl` is a demand: a
backend that cannot run raises.
"""

import logging
import os
from types import ModuleType
from typing import Any

# What `NEGKERNEL_BACKEND` may be; an op need not have all of them.
PREFERENCES = ("auto", "triton", "cpp", "reference")

log = logging.getLogger(__name__)
_told: set[tuple[str, str, str]] = set()
_off: dict[tuple[str, str], str] = {}


def switch_off(op: str, backend: str, reason: str) -> None:
    """Let ``impl="auto"`` pass over a backend from now on, for instance one that fails its check.

    Raises
    ------
    ValueError
        For the reference, which nothing can take the place of.
    """
    if backend == "reference":
        raise ValueError(f"{op}: the reference cannot be switched off; expected another backend")
    log.warning("%s: the backend %s is switched off: %s", op, backend, reason)
    _off[op, backend] = reason


def why_off(op: str, backend: str) -> str | None:
    """Return the reason for which a backend was switched off, None if it was not."""
    return _off.get((op, backend))


def call(op: str, backends: dict[str, ModuleType], impl: str, *args: Any, **options: Any) -> Any:
    """Run `op` on the backend that `impl` asks for.

    Parameters
    ----------
    op : str
        Name of the op, which is also the name of the function in each backend.
    backends : dict of str to module
        Candidates in order of preference; the last, `reference`, runs everything.
    impl : str
        `"auto"` or the name of a backend.
    *args, **options
        Passed to the backend as they are.

    Raises
    ------
    ValueError
        If `impl` names no backend of this op or `NEGKERNEL_BACKEND` names none at all.
    NotImplementedError
        If the backend that `impl` names cannot run this call.
    """
    if impl != "auto":
        if impl not in backends:
            raise ValueError(f"{op}: impl is {impl!r}, expected auto, {', '.join(backends)}")
        if why_not := backends[impl].supports(*args, **options):
            raise NotImplementedError(f"{op}: {impl} cannot run this call: {why_not}")
        return getattr(backends[impl], op)(*args, **options)

    preferred = os.environ.get("NEGKERNEL_BACKEND", "auto")
    if preferred not in PREFERENCES:
        raise ValueError(
            f"NEGKERNEL_BACKEND is {preferred!r}, expected one of {', '.join(PREFERENCES)}"
        )
    names = sorted(backends, key=lambda name: name != preferred)
    for name in names:
        why_not = why_off(op, name) or backends[name].supports(*args, **options)
        if why_not is None:
            return getattr(backends[name], op)(*args, **options)
        if name == preferred and (op, name, why_not) not in _told:
            _told.add((op, name, why_not))
            log.warning("%s: NEGKERNEL_BACKEND=%s cannot run: %s", op, name, why_not)
    raise NotImplementedError(f"{op}: no backend runs this call")
