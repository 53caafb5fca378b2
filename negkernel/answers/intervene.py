"""Interventions: several neurons at once, one pass per site and axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from negkernel.answers.run import run
from negkernel.host import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method
from negkernel.neurons import Intervention, check_interventions, intervention_rows
from negkernel.request.prompts import Request
from negkernel.results import Interventions
from negkernel.rows import Rows


def intervene(
    host: Host, request: Request, interventions: Any, *, method: str, check: str | bool
) -> Interventions:
    """Answer :meth:`negkernel.Engine.intervene`."""
    lists = check_interventions(interventions, len(request), host.widths)
    state = host.precision.state
    P, R = len(lists), len(lists[0])
    # A pass serves one site and axis, and the prompts that have interventions of that kind.
    kinds = [[(host.site(one.site), one.axis) for one in row] for row in lists]
    asked = Asked(method, kinds[0][0][0], check)

    def compute(runner: Method) -> Interventions:
        change = np.empty((P, R, request.K), dtype=host.result_dtype)
        base = np.empty((P, request.K), dtype=host.result_dtype)
        for kind in sorted({kind for row in kinds for kind in row}):
            chosen = [[i for i, k in enumerate(row) if k == kind] for row in kinds]
            where = [p for p, row in enumerate(chosen) if row]
            picked = [[lists[p][i] for i in chosen[p]] for p in where]

            def rows(first: int, last: int, picked: list[list[Intervention]] = picked) -> Rows:
                return intervention_rows(picked[first:last], state)

            nothing = torch.empty(len(where), 0, 2, dtype=torch.int64)
            base[where], part, _ = run(
                host, runner, request.take(where), rows, sum(map(len, picked)), nothing, *kind
            )
            at = [(p, i) for p in where for i in chosen[p]]
            change[tuple(np.array(at).T)] = part
        curves = change.transpose(0, 2, 1)
        return Interventions(
            **request.fields(),
            **host.identity(),
            method=runner.name,
            base_logprob=request.squeeze(base),
            logprob_shift=np.ascontiguousarray(request.squeeze(curves)),
        )

    return answer(host, request, asked, compute)
