"""``negkernel sweep``: every shift of every neuron, for every prompt."""

from __future__ import annotations

from neurgrad.cli.reading.asked import SweepOptions
from neurgrad.cli.running.run import run


def sweep(asked: SweepOptions) -> int:
    """Shift neurons by many amounts and read the target's probability each time."""
    return run(asked)
