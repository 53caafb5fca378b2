"""Interventions: several neurons at once, one pass per site and axis."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from negkernel.answers.further import Further
from negkernel.answers.passes import Pass, passes, resolved
from negkernel.answers.run import report_spelling, run
from negkernel.arguments import shown
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method
from negkernel.request.neurons import check_interventions
from negkernel.request.prompts import Request
from negkernel.request.signs import SIGNS
from negkernel.results import Interventions

log = logging.getLogger(__name__)


def intervene(
    host: Host,
    request: Request,
    interventions: Any,
    *,
    metrics: Sequence[str],
    method: str,
    check: str | bool,
) -> Interventions:
    """Answer :meth:`negkernel.Engine.intervene`."""
    if not isinstance(metrics, list | tuple) or not set(metrics) <= {"logprob", "kl"}:
        raise ValueError(f"metrics is {shown(metrics)}; expected any of 'logprob', 'kl', in a list")
    diverged = "kl" in metrics
    if diverged:
        request.one_token("the metric 'kl'")
    lists, sites = resolved(host, check_interventions(interventions, len(request)))
    written = request.unrolled(each=True)
    each = len(written) // len(request)
    (P, C), R = (len(written), written.columns.shape[1]), len(lists[0])
    change = np.empty((P, R, 2 * C + 2 if diverged else C), dtype=host.result_dtype)
    watched = np.empty((P, 2 * C), dtype=host.result_dtype)
    flipped, methods = dict.fromkeys(SIGNS, 0), set()
    repeated = [own for own in lists for _ in range(each)]
    for one in passes(host, written, repeated, sites, readings=diverged):
        asked = Asked(method, one.work.spot.site, check)
        watched[one.prompts], part, name = answer(
            host, one.request, asked, partial(_computed, host, one)
        )
        methods.add(name)
        flipped[one.rule] += 0 if one.signs is None else one.signs.flipped()
        change[tuple(np.array(one.at).T)] = part
    _report(flipped)
    (base, base_tokens), (others, _) = map(request.parted, np.split(watched, 2, axis=1))
    report_spelling(request, np.concatenate([base, others], axis=1))
    shift, tokens = request.parted(change[..., :C].transpose(0, 2, 1))
    return Interventions(
        **request.fields(),
        **host.identity(),
        method=" and ".join(sorted(methods)),
        base_logprob=request.squeeze(base),
        base_token_logprob=request.squeezed(base_tokens),
        logprob_shift=np.ascontiguousarray(request.squeeze(shift)),
        token_logprob_shift=request.squeezed(tokens),
        kl=np.ascontiguousarray(change[..., C]) if diverged else None,
        further=Further(host, request, lists, sites),
    )


def _computed(host: Host, one: Pass, runner: Method) -> tuple[np.ndarray, np.ndarray, str]:
    """Watched log-probs [P, 2 C] and changes [r, C] of a pass, and the method's name."""
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
