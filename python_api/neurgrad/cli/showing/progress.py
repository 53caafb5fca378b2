"""The bar under a running job: what is done, how fast, how long to go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


@contextmanager
def progress(total: int, done: int, unit: str) -> Iterator[tqdm]:
    """Show a bar on stderr while the ``with`` block runs.

    Parameters
    ----------
    total, done : int
        All there is to do, and what an earlier run did.
    unit : str
        "rows" or "prompts".
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from neurgrad.cli.showing.messages import LOGGERS

    bar = tqdm(
        total=total,
        initial=done,
        unit=f" {unit}",
        unit_scale=True,
        file=sys.stderr,
        dynamic_ncols=True,
        # A log file wants a line now and then, not ten a second.
        mininterval=0.2 if sys.stderr.isatty() else 10,
    )
    with bar, logging_redirect_tqdm(list(LOGGERS)):
        yield bar
