"""The library's warnings on the terminal, each kind once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = tuple(logging.getLogger(name) for name in ("negkernel", "neurgrad"))


@contextmanager
def messages() -> Iterator[None]:
    """Print warnings of negkernel and neurgrad to stderr inside the ``with`` block."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("negkernel: %(message)s"))
    handler.addFilter(_Once())
    for logger in LOGGERS:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in LOGGERS:
            logger.removeHandler(handler)


class _Once(logging.Filter):
    """Let each kind of message through once: shards repeat what a single call says once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        new = str(record.msg) not in self._seen
        self._seen.add(str(record.msg))
        return new
