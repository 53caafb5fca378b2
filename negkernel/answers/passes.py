"""Sort interventions into passes: one for each site, axis and rule of signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from negkernel.handle import Host
from negkernel.methods.base import Work
from negkernel.request.directions import Directions
from negkernel.request.neurons import Intervention, check_range, intervention_rows
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.request.signs import Signs
from negkernel.sites import Site, Spot


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


def resolved(
    host: Host, lists: list[list[Intervention]]
) -> tuple[list[list[Intervention]], dict[str, Site]]:
    """Interventions of neurons that there are, their sites resolved, and these sites by name.

    Directions at the same place are one site, whatever interventions they are of.
    """
    sites: dict[str, Site] = {}
    along: dict[str, list[Directions]] = {}
    for one in (one for row in lists for one in row if one.directions is not None):
        assert one.directions is not None
        along.setdefault(one.directions.at, []).append(one.directions)
    pairs = {}
    for at, several in along.items():
        joined = Directions.joined(several)
        sites[at] = host.along(joined)
        pairs[at] = iter(np.split(joined.within, np.cumsum([len(one) for one in several])[:-1]))

    def at_site(one: Intervention) -> Intervention:
        if one.directions is not None:
            at = one.directions.at
            return replace(one, neurons=next(pairs[at]), site=at)
        site = host.site(one.site, one.neurons[:, 0])
        sites[site.name] = site
        check_range(one.neurons, site.widths(host.feed_forwards), site.noun)
        return replace(one, site=site.name)

    return [[at_site(one) for one in row] for row in lists], sites


def passes(
    host: Host,
    request: Request,
    lists: list[list[Intervention]],
    sites: dict[str, Site],
    *,
    readings: bool = False,
) -> Iterator[Pass]:
    """Sort the resolved interventions of P prompts into passes, with ``readings`` of each row."""
    state = host.precision.state
    kinds = [[(one.site, one.axis, one.signs) for one in row] for row in lists]
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
        amounts = np.concatenate([one.amounts for row in picked for one in row])
        spot = Spot.of(sites[site], axis, amounts)
        work = Work.of(some, rows, nothing, spot, readings=readings)
        yield Pass(some, work, where, [(p, i) for p in where for i in chosen[p]], rule, signs)
