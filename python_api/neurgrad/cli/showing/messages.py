"""Say on stderr what a command does, what the library warns of, and why the command ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from neurgrad.cli.showing.terminal import line

LOGGERS = tuple(logging.getLogger(name) for name in ("negkernel", "neurgrad"))
notes = logging.getLogger("neurgrad.cli")


@contextmanager
def messages(*, quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Print what is logged inside the ``with`` block to stderr.

    Parameters
    ----------
    quiet : bool
        Warnings only; by default also the command's own notes.
    verbose : bool
        Also what the library decides, such as the method that ``auto`` takes.
    """
    handler = _Handler()
    handler.addFilter(_Once())
    levels = dict.fromkeys(LOGGERS, logging.INFO if verbose else logging.WARNING)
    levels[notes] = logging.WARNING if quiet else logging.INFO
    before = {logger: logger.level for logger in levels}
    for logger, level in levels.items():
        logger.setLevel(level)
    for logger in LOGGERS:
        logger.addHandler(handler)
    try:
        yield
        line.end()
    finally:
        for logger in LOGGERS:
            logger.removeHandler(handler)
        for logger, level in before.items():
            logger.setLevel(level)


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Say what is done inside the ``with`` block, and after Ctrl-C what was."""
    if notes.isEnabledFor(logging.INFO):
        line.begin(f"{doing} ...")
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(f"while {doing}")
        raise


class _Handler(logging.Handler):
    """Print each message on a line of its own, terminal escapes in it made visible."""

    def emit(self, record: logging.LogRecord) -> None:
        line.say(record.getMessage())


class _Once(logging.Filter):
    """Let each kind of warning through once: shards repeat what a single call says once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        new = record.name == notes.name or str(record.msg) not in self._seen
        self._seen.add(str(record.msg))
        return new
