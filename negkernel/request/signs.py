"""Settle which sign a shift along the magnitude axis follows where earlier shifts have flipped it.

Shifts in lower layers move the activations above. One that was nearly 0 may come out on the other
side, and the shift of that neuron then goes the other way than its baseline says.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

SIGNS = ("running", "baseline")


@dataclass(frozen=True, eq=False)
class Signs:
    """The rule for rows that shift neurons of several layers, and how often it mattered.

    Attributes
    ----------
    rule : {"running", "baseline"}
        Follow the activation as the row's earlier shifts left it, or as it is without any.
    flips : list of Tensor []
        Numbers of shifts for which the two differ, where they were counted.
    """

    rule: str
    flips: list[Tensor] = field(default_factory=list)

    def shift(self, baseline: Tensor, running: Tensor, amount: Tensor) -> Tensor:
        """What is added to activations [E] that are shifted by ``amount`` [E] along their sign."""
        before, now = torch.sign(baseline), torch.sign(running)
        self.flips.append((before != now).sum())
        return amount * (before if self.rule == "baseline" else now)

    def flipped(self) -> int:
        """How many shifts met another sign than the baseline's."""
        return sum(int(count) for count in self.flips)


def check_signs(signs: str, axis: str) -> str:
    """Return ``signs`` if it is one of :data:`SIGNS` and means something along ``axis``."""
    if signs not in SIGNS:
        raise ValueError(f"signs {signs!r} is unknown; expected 'running' or 'baseline'")
    if signs == "baseline" and axis != "magnitude":
        raise ValueError(
            f"signs='baseline' is of the magnitude axis, whose shifts follow a sign; axis {axis!r} "
            "follows none: leave signs out"
        )
    return signs
