"""Interventions: several neurons at once, one pass per site and axis."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from negkernel.answers.run import run
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method, Work
from negkernel.request.neurons import Intervention, check_interventions, intervention_rows
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.request.signs import SIGNS, Signs
from negkernel.results import Interventions
from negkernel.sites import Spot

log = logging.getLogger(__name__)


def intervene(
    host: Host, request: Request, interventions: Any, *, method: str, check: str | bool
) -> Interventions:
    """Answer :meth:`negkernel.Engine.intervene`."""
    lists = check_interventions(interventions, len(request), host.widths)
    state = host.precision.state
    P, R = len(lists), len(lists[0])
    # A pass serves one site, axis and rule of signs, and the prompts that have interventions of
    # that kind.
    kinds = [
        [(host.site(one.site, one.neurons[:, 0]).name, one.axis, one.signs) for one in row]
        for row in lists
    ]
    asked = Asked(method, host.site(kinds[0][0][0]), check)

    def compute(runner: Method) -> Interventions:
        change = np.empty((P, R, request.K), dtype=host.result_dtype)
        base = np.empty((P, request.K), dtype=host.result_dtype)
        flipped = dict.fromkeys(SIGNS, 0)
        for kind in sorted({kind for row in kinds for kind in row}):
            chosen = [[i for i, k in enumerate(row) if k == kind] for row in kinds]
            where = [p for p, row in enumerate(chosen) if row]
            picked = [[lists[p][i] for i in chosen[p]] for p in where]

            site, axis, rule = kind
            signs = Signs(rule) if any(one.flippable for row in picked for one in row) else None

            def rows(
                first: int,
                last: int,
                picked: list[list[Intervention]] = picked,
                signs: Signs | None = signs,
            ) -> Rows:
                return intervention_rows(picked[first:last], state, signs)

            nothing = torch.empty(len(where), 0, 2, dtype=torch.int64)
            n_rows = sum(map(len, picked))
            some, spot = request.take(where), Spot(host.site(site), axis)
            work = Work.of(some, rows, nothing, spot)
            base[where], part, _ = run(host, runner, some, work, n_rows)
            flipped[rule] += 0 if signs is None else signs.flipped()
            at = [(p, i) for p in where for i in chosen[p]]
            change[tuple(np.array(at).T)] = part
        _report(flipped)
        curves = change.transpose(0, 2, 1)
        return Interventions(
            **request.fields(),
            **host.identity(),
            method=runner.name,
            base_logprob=request.squeeze(base),
            logprob_shift=np.ascontiguousarray(request.squeeze(curves)),
        )

    return answer(host, request, asked, compute)


def _report(flipped: dict[str, int]) -> None:
    """Say, for each rule of signs, how many shifts met another sign than the baseline's."""
    for rule, count in flipped.items():
        if count:
            log.log(
                logging.WARNING if rule == "running" else logging.INFO,
                "earlier shifts flipped the sign of %d activations that were then shifted on the "
                "magnitude axis; signs=%r follows the activation %s",
                count,
                rule,
                "as they left it" if rule == "running" else "without them",
            )
