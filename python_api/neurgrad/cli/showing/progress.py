"""Show how far a job is: a bar on a terminal, a line a minute in a file."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neurgrad.cli.showing.messages import LOGGERS, notes
from neurgrad.cli.showing.terminal import line

SECONDS = 60  # between lines in a file


@contextmanager
def progress(total: int | None, done: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Show progress on stderr while the ``with`` block runs, unless only warnings are wanted.

    Parameters
    ----------
    total : int or None
        All there is to do, if that is known.
    done : int
        What an earlier run did.
    unit : str
        "rows" or "prompts".

    Yields
    ------
    callable
        To be told how much more is done.
    """
    if not notes.isEnabledFor(logging.INFO):
        yield lambda n: None
        return
    line.end()
    if not sys.stderr.isatty():
        with _lines(total, done, unit) as advance:
            yield advance
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    bar = tqdm(
        total=total,
        initial=done,
        unit=f" {unit}",
        unit_scale=True,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.2,
    )
    with bar, logging_redirect_tqdm(list(LOGGERS)):
        yield bar.update


@contextmanager
def _lines(total: int | None, done: int, unit: str) -> Iterator[Callable[[int], object]]:
    counted = [done]
    began, over = time.monotonic(), threading.Event()
    whole = "" if total is None else f" of {total:,}"

    def tell() -> None:
        while not over.wait(SECONDS):
            rate = (counted[0] - done) / (time.monotonic() - began)
            left = ""
            if total is not None and rate > 0:
                left = f", about {(total - counted[0]) / rate / 60:,.0f} min to go"
            notes.info("%s%s %s, %s/s%s", f"{counted[0]:,}", whole, unit, f"{rate:,.1f}", left)

    def advance(n: int) -> None:
        counted[0] += n

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        over.set()
        thread.join()
