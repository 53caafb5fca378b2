"""The map of every neuron's NEG, kept in a folder where one is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from negkernel import spectral
from negkernel.answers.asked import How
from negkernel.answers.run import report_spelling
from negkernel.arguments import check_flag, check_number, check_path
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method, Opened
from negkernel.model.environment import computing_as, environment, identity
from negkernel.model.finite import check_finite
from negkernel.request.neurons import check_shifts
from negkernel.request.prompts import Request
from negkernel.results import NegMap
from negkernel.results.ledger import at_work
from negkernel.results.manifest import Manifest
from negkernel.sites import Spot
from negkernel.spectral import check_tol


def neg_map(
    host: Host,
    request: Request,
    how: How,
    *,
    radius: float,
    tol: float,
    folder: str | Path | None,
    progress: bool | None,
) -> NegMap:
    """Answer :meth:`negkernel.Engine.neg_map`."""
    radius = check_number("radius", radius, "a positive number", above=0)
    check_shifts([radius], host.precision.state, "radius")  # refuses what is too large
    if progress is not None:
        check_flag("progress", progress)
    kept = None if folder is None else check_path("folder", folder)
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
        pieces = spectral.pieces(len(request), widths)
        with ExitStack() as work:
            ledger = None
            if kept is not None:
                wanted = manifest_of(host, "NEG map", request, settings, list(pieces))
                ledger = work.enter_context(at_work(kept, wanted))
                work.enter_context(computing_as(host, ledger.manifest.environment))
                runner = host.method(runner.name)  # with the memory of those who began
            measure = _measure(host, runner, request, spot, settings)
            portions = spectral.portions(pieces, measure, ledger, progress)
            found, watched = spectral.collect(portions, request, widths, host.result_dtype)
        report_spelling(request, watched)
        return NegMap(**request.fields(), **host.identity(), **settings, **found)

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


def manifest_of(
    host: Host, kind: str, request: Request, settings: Mapping[str, Any], parts: Sequence[str]
) -> Manifest:
    """Describe work on a request: everything that its results depend on, and its parts."""
    asked = {
        **settings,
        **identity(host),
        "task": host.task,
        "prompt_tokens": request.tokens,
        "positions": [int(position) for position in request.positions],
        "shifted": request.elsewhere,
        "target_ids": request.target_ids.tolist(),
    }
    return Manifest.of(kind, asked, environment(host), parts)
