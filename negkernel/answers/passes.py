"""Sort interventions into passes: one for each site, axis and rule of signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from negkernel.handle import Host
from negkernel.methods.base import Work
from negkernel.request.neurons import Intervention, intervention_rows
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.request.signs import Signs
from negkernel.sites import Spot


@dataclass(frozen=True)
class Pass:
    """The interventions of one site, axis and rule of signs, as one piece of work.

    Attributes
    ----------
    request : Request
        The prompts that have such interventions.
    work : Work
    prompts : list of int
        Which prompts those are.
    at : list of (int, int)
        Prompt and intervention of each row.
    rule : str
    signs : Signs or None
        Counts flips, where there can be any.
    """

    request: Request
    work: Work
    prompts: list[int]
    at: list[tuple[int, int]]
    rule: str
    signs: Signs | None


def passes(host: Host, request: Request, lists: list[list[Intervention]]) -> Iterator[Pass]:
    """Sort the interventions of P prompts into passes."""
    state = host.precision.state
    kinds = [
        [(host.site(one.site, one.neurons[:, 0]).name, one.axis, one.signs) for one in row]
        for row in lists
    ]
    for kind in sorted({kind for row in kinds for kind in row}):
        site, axis, rule = kind
        chosen = [[i for i, k in enumerate(row) if k == kind] for row in kinds]
        where = [p for p, row in enumerate(chosen) if row]
        picked = [[lists[p][i] for i in chosen[p]] for p in where]
        signs = Signs(rule) if any(one.flippable for row in picked for one in row) else None

        def rows(
            first: int,
            last: int,
            picked: list[list[Intervention]] = picked,
            signs: Signs | None = signs,
        ) -> Rows:
            return intervention_rows(picked[first:last], state, signs)

        some, nothing = request.take(where), torch.empty(len(where), 0, 2, dtype=torch.int64)
        work = Work.of(some, rows, nothing, Spot(host.site(site), axis))
        yield Pass(some, work, where, [(p, i) for p in where for i in chosen[p]], rule, signs)
