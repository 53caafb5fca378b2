"""Keep calls that other threads were inside of out of forked children."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

_pending: list[tuple[int, Callable[[], object]]] = []


@contextmanager
def undone_in_forks(undo: Callable[[], object]) -> Iterator[None]:
    """Have `undo` run in a child that another thread forks inside the ``with`` block.

    The child gets a copy of the model as it is in the middle of this thread's call, but not the
    thread that would give it back.
    """
    entry = get_ident(), undo
    _pending.append(entry)
    try:
        yield
    finally:
        _pending.remove(entry)


def _undo_other_threads() -> None:
    own = get_ident()
    others = [undo for thread, undo in _pending if thread != own]
    _pending[:] = [entry for entry in _pending if entry[0] == own]
    for undo in reversed(others):
        undo()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_undo_other_threads)
