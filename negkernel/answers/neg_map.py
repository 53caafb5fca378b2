"""The map of every neuron's NEG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from negkernel import spectral
from negkernel.answers.asked import How
from negkernel.answers.kept import Job, Keeping
from negkernel.answers.run import report_spelling
from negkernel.arguments import check_number
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method, Opened
from negkernel.model.finite import check_finite
from negkernel.request.neurons import check_shifts
from negkernel.request.prompts import Request
from negkernel.results import NegMap
from negkernel.results.shards import Shard
from negkernel.sites import Spot
from negkernel.spectral import check_tol


def neg_map(
    host: Host,
    request: Request,
    how: How,
    *,
    radius: float,
    tol: float,
    keeping: Keeping,
) -> NegMap:
    """Answer :meth:`negkernel.Engine.neg_map`."""
    radius = check_number("radius", radius, "a positive number", above=0)
    check_shifts([radius], host.precision.state, "radius")  # refuses what is too large
    check_tol(tol)
    spot = Spot.of(host.site(how.site), how.axis, np.array([radius]))
    widths = spot.site.widths(host.feed_forwards)

    def compute(runner: Method) -> NegMap:
        settings: dict[str, Any] = {
            "radius": radius,
            "tol": tol,
            "axis": spot.axis,
            "site": spot.site.name,
            "method": runner.name,
        }
        watched = np.full((len(request), 2 * request.K), np.nan)

        def computer(runner: Method) -> Callable[[Shard], NegMap]:
            written = request.unrolled()
            measure = _measure(host, runner, written, spot, settings)
            each = len(written) // len(request)

            def shard(shard: Shard) -> NegMap:
                p = shard.prompts[0]
                own = range(p * each, (p + 1) * each)  # the prompt with each of its answers
                found = spectral.joined([measure(replace(shard, prompts=(q, q + 1))) for q in own])
                watched[p] = found.watched
                some = request.take([p])
                arrays: dict[str, Any] = {
                    name: some.squeeze(array[None]) for name, array in found.curves.items()
                }
                return NegMap(
                    **some.fields(),
                    **host.identity(),
                    **settings,
                    base_logprob=some.squeeze(found.watched[None, : request.K]),
                    activation=found.activation[None],
                    rows=int(found.rows.sum()),
                    neuron_rows=found.rows[None],
                    **arrays,
                )

            return shard

        shards = spectral.pieces(len(request), widths)
        job = Job(NegMap, settings, shards, computer, "layer")
        whole = job.answered(host, request, runner, keeping)
        report_spelling(request, watched)
        return whole

    return answer(host, request, Asked(how.method, spot.site, how.check), compute)


def _measure(
    host: Host, runner: Method, request: Request, spot: Spot, settings: Mapping[str, Any]
) -> spectral.Measure:
    def opened(group: tuple[int, int]) -> Opened:
        (found,) = runner.open(request.take(range(*group)), spot)
        check_finite(host.model, found.base_logprob)
        return found

    return spectral.Measure(
        list(runner.groups(request)),
        opened,
        spot.site.widths(host.feed_forwards),
        spectral.paper_grid(settings["radius"], host.result_dtype),
        tol=settings["tol"],
        eps=spectral.row_eps(host.precision),
    )
