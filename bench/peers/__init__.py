"""Sweeps, gradients and tables on a real model: the engine beside the libraries people use.

Who is not installed is listed as such; ``make peers`` installs them. Nobody is timed who does not
agree with a float64 copy of the model first, and again in the answers that were timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.peers import gradients, sweeps
from bench.peers.asks import Asks
from bench.peers.case import Case, held
from bench.peers.models import Models
from bench.registry import Settings
from bench.report import Record

CASES: dict[str, Callable[[Models, Asks], Iterator[Case]]] = {
    "W1": sweeps.one_layer,
    "W2": sweeps.all_layers,
    "W3": gradients.labels,
    "W4": gradients.integrated,
    "W5": sweeps.table,
    "W6": sweeps.ablation,
}


def run(settings: Settings) -> list[Record]:
    """Hold the contests, one after the other; ``settings.only`` names one of them."""
    if settings.device != "cpu":
        raise ValueError(f"peers counts CPU seconds; expected --device cpu, not {settings.device}")
    if settings.only not in (None, *CASES):
        raise ValueError(f"--only is {settings.only}, expected one of {', '.join(CASES)}")
    models = Models(quick=settings.quick)
    asks = Asks(models, (16, 40) if settings.quick else (16, 116), quick=settings.quick)
    return [
        record
        for name, cases in CASES.items()
        if settings.only in (None, name)
        for case in cases(models, asks)
        for record in held(case, settings.repeats)
    ]
