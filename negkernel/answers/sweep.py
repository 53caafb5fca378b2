"""Sweeps on a grid or between nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from negkernel import spectral
from negkernel.answers.ablation import ABLATIONS, activations
from negkernel.answers.asked import Curves, How
from negkernel.answers.run import report_spelling, run
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method, Opened, Work
from negkernel.methods.readings import check_metrics
from negkernel.model.finite import check_finite
from negkernel.request.directions import Directions
from negkernel.request.neurons import check_neurons, check_shifts
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows, sweep_rows
from negkernel.results import Sweep
from negkernel.sites import Spot, check_axis
from negkernel.spectral import check_resolution, check_tol


def sweep(
    host: Host,
    request: Request,
    neurons: Any,
    shifts: Any,
    how: How,
    fine: Curves,
) -> Sweep:
    """Answer :meth:`negkernel.Engine.sweep`."""
    resolution, tol, axis = check_resolution(fine.resolution), check_tol(fine.tol), how.axis
    metrics = check_metrics(fine.metrics, request.K, resolution)
    given, where = host.place(neurons, how.site)
    pairs = check_neurons(given, len(request), where.widths(host.feed_forwards), where.noun)
    ablation = ABLATIONS.get(axis) if isinstance(axis, str) else None
    if ablation is not None:
        ablation.check(request, pairs, shifts, resolution)
        shifts = ablation.shifts
    amounts = check_shifts(shifts, host.precision.state)
    spot = Spot(where, where.check(axis if ablation else check_axis(axis), amounts))
    spot = replace(spot, axis="value") if ablation else spot
    per_prompt = torch.from_numpy(pairs).expand(len(request), -1, 2)

    def compute(runner: Method) -> Sweep:
        more: dict[str, Any] = {}
        if resolution == "spectral":
            found = _opened(host, runner, request, spot)
            eps = spectral.row_eps(host.precision)
            measured = spectral.measure(found, per_prompt.numpy(), amounts, tol=tol, eps=eps)
            base, activation, curves = measured.base, measured.activation, measured.change
            error, n_rows = measured.error, measured.rows
        else:
            each = torch.from_numpy(amounts)
            if ablation is not None:
                each = ablation.values(activations(host, runner, request, per_prompt, spot))
            base, activation, curves, more = _grid(
                host, runner, request, per_prompt, each, spot, metrics
            )
            error, n_rows = np.zeros(curves.shape[:3], dtype=curves.dtype), curves[:, 0].size
        if "logit_diff" in metrics:
            more["logit_diff"] = curves[:, 0] - curves[:, 1]
        return Sweep(
            **request.fields(),
            **host.identity(),
            neurons=neurons.pairs if isinstance(neurons, Directions) else pairs,
            shifts=amounts,
            axis=axis if ablation else spot.axis,
            site=spot.site.name,
            method=runner.name,
            resolution=resolution,
            base_logprob=request.squeeze(base),
            logprob_shift=np.ascontiguousarray(request.squeeze(curves)),
            activation=activation,
            error=request.squeeze(error),
            rows=n_rows,
            **more,
        )

    return answer(host, request, Asked(how.method, spot.site, how.check), compute)


def _grid(
    host: Host,
    runner: Method,
    request: Request,
    neurons: torch.Tensor,
    amounts: torch.Tensor,
    spot: Spot,
    metrics: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Every one of ``amounts`` [J] or [P, N, J].

    Returns base [P, K], activation [P, N], curves [P, K, N, J] and the further metrics.
    """
    (P, N, _), J = neurons.shape, amounts.shape[-1]
    each = amounts.expand(P, N, J)

    def rows(first: int, last: int) -> Rows:
        return sweep_rows(neurons[first:last], each[first:last])

    readings = bool({"kl", "rank"} & set(metrics))
    work = Work.of(request, rows, neurons, spot, readings=readings)
    base, change, activation = run(host, runner, request, work, P * N * J)
    columns = change.reshape(P, N, J, -1).transpose(0, 3, 1, 2)
    more: dict[str, Any] = {}
    if "kl" in metrics:
        more["kl"] = np.ascontiguousarray(columns[:, request.K])
    if "rank" in metrics:
        rank = columns[:, request.K + 1 : -1].astype(np.int64)
        more["rank"] = np.ascontiguousarray(request.squeeze(rank))
        more["top_changed"] = columns[:, -1] > 0
    return base, activation, columns[:, : request.K], more


def _opened(host: Host, runner: Method, request: Request, spot: Spot) -> Iterator[Opened]:
    """All prompts, each computed once, ready for a spectral sweep."""
    watched = np.empty((len(request), 2 * request.K), host.result_dtype)
    for group in runner.open(request, spot):
        check_finite(host.model, group.base_logprob)
        yield group
        watched[group.first : group.last] = group.base_logprob.numpy()
    report_spelling(request, watched)
