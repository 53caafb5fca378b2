"""``negkernel grad``: the gradient of the target's probability in every neuron."""

from __future__ import annotations

from neurgrad.cli.reading.asked import JobOptions
from neurgrad.cli.running.run import run


def grad(asked: JobOptions) -> int:
    """Estimate what every neuron does to the target, from gradients (NeurGrad)."""
    return run(asked)
