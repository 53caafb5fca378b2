"""Keep other libraries' bars and notices off the terminal while a model loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers and the Hub's client below errors, and restore them after."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_verbosity = hub.get_verbosity()
    logging.set_verbosity_error()
    hub.set_verbosity_error()  # it tells each of five attempts to reach the Hub
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()
