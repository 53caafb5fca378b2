"""Keep other libraries' bars and notices off the terminal while a model loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers and the Hub's client below errors, and restore them after."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    # torchao and torch complain of files of their own when transformers imports them.
    talkers = [getLogger(name) for name in ("torchao", "torch")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(ERROR)
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_verbosity = hub.get_verbosity()
    logging.set_verbosity_error()
    hub.set_verbosity_error()  # it tells each of five attempts to reach the Hub
    logging.disable_progress_bar()
    try:
        yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
        logging.set_verbosity(verbosity)
        hub.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()
