"""Which positions carry a difference, and which base row each of them belongs to.

Rows' differences are ``[T, ...]``: the probed position of each row only (T = R), or all positions,
position first (T = S * R). Base tensors are ``[S, P, ...]``, position first as well, so that the
rows of one batch read them in ascending order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Carried:
    """Which positions carry a difference.

    Attributes
    ----------
    prompt : Tensor [R] int64
        Prompt of each row, sorted.
    probe : Tensor [P] int64
        Probed position of each prompt.
    everywhere : bool
        All positions, or the probed one only.
    length : int
        S.
    """

    prompt: Tensor
    probe: Tensor
    everywhere: bool
    length: int

    @property
    def rows(self) -> int:
        """R."""
        return len(self.prompt)

    @property
    def index(self) -> Tensor:
        """Row of :meth:`base` that each difference belongs to [T], sorted."""
        if not self.everywhere:
            return self.prompt
        P = len(self.probe)
        positions = torch.arange(self.length, device=self.prompt.device)
        return (positions[:, None] * P + self.prompt).flatten()

    @property
    def at_probe(self) -> Tensor:
        """Which of the T differences is each row's probed one [R]."""
        row = torch.arange(self.rows, device=self.prompt.device)
        return self.probe[self.prompt] * self.rows + row if self.everywhere else row

    def base(self, x: Tensor) -> Tensor:
        """Rows [S * P, ...] or [P, ...] of the base tensor ``x`` [S, P, ...]."""
        if self.everywhere:
            return x.flatten(0, 1)
        return x[self.probe, torch.arange(len(self.probe), device=x.device)]

    def spread(self, d: Tensor) -> Tensor:
        """Place the probed rows ``d`` [R, ...] among zeros at all positions: [S * R, ...]."""
        out = d.new_zeros(self.length * self.rows, *d.shape[1:])
        out[self.probe[self.prompt] * self.rows + torch.arange(self.rows, device=d.device)] = d
        return out

    def only_probe(self) -> Carried:
        """Return the same rows where only the probed position carries a difference."""
        return Carried(self.prompt, self.probe, False, self.length)

    def all_positions(self) -> Carried:
        """Return the same rows where every position carries a difference."""
        return Carried(self.prompt, self.probe, True, self.length)
