"""Interventions: several neurons at once, one pass per site and axis."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np

from negkernel.answers.further import Further
from negkernel.answers.passes import Pass, passes, resolved
from negkernel.answers.run import report_spelling, run
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method
from negkernel.request.neurons import check_interventions
from negkernel.request.prompts import Request
from negkernel.request.signs import SIGNS
from negkernel.results import Interventions

log = logging.getLogger(__name__)


def intervene(
    host: Host, request: Request, interventions: Any, *, method: str, check: str | bool
) -> Interventions:
    """Answer :meth:`negkernel.Engine.intervene`."""
    lists, sites = resolved(host, check_interventions(interventions, len(request)))
    P, R = len(lists), len(lists[0])
    change = np.empty((P, R, request.K), dtype=host.result_dtype)
    watched = np.empty((P, 2 * request.K), dtype=host.result_dtype)
    flipped, methods = dict.fromkeys(SIGNS, 0), set()
    for one in passes(host, request, lists, sites):
        asked = Asked(method, one.work.spot.site, check)
        watched[one.prompts], part, name = answer(
            host, one.request, asked, partial(_computed, host, one)
        )
        methods.add(name)
        flipped[one.rule] += 0 if one.signs is None else one.signs.flipped()
        change[tuple(np.array(one.at).T)] = part
    report_spelling(request, watched)
    _report(flipped)
    curves = change.transpose(0, 2, 1)
    return Interventions(
        **request.fields(),
        **host.identity(),
        method=" and ".join(sorted(methods)),
        base_logprob=request.squeeze(watched[:, : request.K]),
        logprob_shift=np.ascontiguousarray(request.squeeze(curves)),
        further=Further(host, request, lists, sites),
    )


def _computed(host: Host, one: Pass, runner: Method) -> tuple[np.ndarray, np.ndarray, str]:
    """Watched log-probs [P, 2 K] and changes [r, K] of a pass, and the method's name."""
    if one.signs is not None:
        one.signs.flips.clear()  # of a method that broke
    watched, change, _ = run(host, runner, one.request, one.work, len(one.at))
    return watched, change, runner.name


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
