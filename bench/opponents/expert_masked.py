"""The expert recipe with masked attention, as it is usually described.

All as in :mod:`bench.opponents.expert` but attention: rows are tokens of one sequence that share a
position id, and a mask shows each the prefix and itself. The mask costs scores between rows that
nobody wants, so attention runs over few rows at a time; `calibrated_masked` finds out how few.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.opponents.expert import Expert, fastest

# Rows of one masked sequence.
SEQUENCES = (16, 32, 64, 128, 256)


class MaskedExpert(Expert):
    """The recipe with ``sequence`` rows in each masked attention, few beside its ``rows``."""

    def __init__(self, expert: Expert, sequence: int):
        super().__init__(expert.model, expert.rows, expert.head_rows)
        self.sequence = sequence

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, scale: float
    ) -> Tensor:
        mask = self._mask(prefix_k.shape[2], q)
        parts = []
        for some_q, some_k, some_v in zip(
            *(x.split(self.sequence, dim=2) for x in (q, k, v)), strict=True
        ):
            keys = torch.cat([prefix_k, some_k], dim=2)
            values = torch.cat([prefix_v, some_v], dim=2)
            rows, seen = some_q.shape[2], keys.shape[2]
            parts.append(
                F.scaled_dot_product_attention(
                    some_q, keys, values, attn_mask=mask[:rows, :seen], scale=scale
                )
            )
        return torch.cat(parts, dim=2)

    def _mask(self, prefix: int, q: Tensor) -> Tensor:
        """Show each row of a sequence the prefix and itself: [sequence, prefix + sequence]."""
        own = torch.full((self.sequence, self.sequence), -torch.inf, dtype=q.dtype, device=q.device)
        return torch.cat([q.new_zeros(self.sequence, prefix), own.fill_diagonal_(0.0)], dim=1)


def calibrated_masked(
    expert: Expert, tokens: list[int], target: int, neurons: Tensor, shifts: Tensor
) -> MaskedExpert:
    """Return ``expert`` with masked attention over as many rows as is fastest on this sweep."""
    part = neurons[: -(-expert.rows // len(shifts))]
    return fastest([MaskedExpert(expert, n) for n in SEQUENCES], tokens, target, part, shifts)
