"""Sweeps on a grid or between nodes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from negkernel import spectral
from negkernel.answers.ablation import ABLATIONS, activations
from negkernel.answers.asked import Curves, How
from negkernel.answers.kept import Job, Keeping
from negkernel.answers.run import report_spelling, run
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method, Work
from negkernel.methods.readings import check_metrics
from negkernel.model.finite import check_finite
from negkernel.request.directions import Directions
from negkernel.request.neurons import check_neurons, check_shifts
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows, sweep_rows
from negkernel.results import Sweep
from negkernel.results.shards import Shard, rows_per_shard, split
from negkernel.sites import Spot, check_axis
from negkernel.spectral import check_resolution, check_tol


def sweep(
    host: Host,
    request: Request,
    neurons: Any,
    shifts: Any,
    how: How,
    fine: Curves,
    keeping: Keeping,
) -> Sweep:
    """Answer :meth:`negkernel.Engine.sweep`."""
    resolution, tol, axis = check_resolution(fine.resolution), check_tol(fine.tol), how.axis
    metrics = check_metrics(fine.metrics, request.K, resolution)
    if {"kl", "rank"} & set(metrics):
        request.one_token("the metrics 'kl' and 'rank'")
    given, where = host.place(neurons, how.site)
    pairs = check_neurons(given, len(request), where.widths(host.feed_forwards), where.noun)
    ablation = ABLATIONS.get(axis) if isinstance(axis, str) else None
    if ablation is not None:
        ablation.check(request, pairs, shifts, resolution)
        shifts = ablation.shifts
    amounts = check_shifts(shifts, host.precision.state)
    spot = Spot(where, where.check(axis if ablation else check_axis(axis), amounts))
    spot = replace(spot, axis="value") if ablation else spot
    asked = _Curves(
        pairs,
        amounts,
        spot,
        axis=axis if ablation else spot.axis,
        fine=Curves(resolution, tol, metrics),
        directions=neurons if isinstance(neurons, Directions) else None,
    )

    def compute(runner: Method) -> Sweep:
        watched = np.full((len(request), 2 * request.K), np.nan)

        def computer(runner: Method) -> Callable[[Shard], Sweep]:
            computing = _Computing(host, runner, request, asked)

            def shard(shard: Shard) -> Sweep:
                found, watched[slice(*shard.prompts)] = computing(shard)
                return found

            return shard

        P, N, J = len(request), pairs.shape[-2], len(amounts)
        shards = [Shard((0, P), (0, N))]
        if keeping.folder is not None:
            most = rows_per_shard(sum(p.numel() for p in host.model.parameters()))
            numbers = (J + 1) * (request.K + len(metrics))
            shards = split(P, N, J, most, bytes_per_pair=8 * numbers)
        job = Job(Sweep, asked.settings(runner), shards, computer, "curve")
        whole = job.answered(host, request, runner, keeping)
        report_spelling(request, watched)
        return whole

    return answer(host, request, Asked(how.method, spot.site, how.check), compute)


@dataclass(frozen=True)
class _Curves:
    """What a sweep asks of each prompt, checked.

    Attributes
    ----------
    neurons : int array [N, 2] or [P, N, 2]
    shifts : float array [J]
    spot : Spot
    axis : str
        What the result says; of an ablation its name, where ``spot`` has "value".
    fine : Curves
    directions : Directions or None
        Those that ``neurons`` counts, where they are none.
    """

    neurons: np.ndarray
    shifts: np.ndarray
    spot: Spot
    axis: str
    fine: Curves
    directions: Directions | None

    @property
    def named(self) -> np.ndarray:
        """What the result says of ``neurons``."""
        return self.neurons if self.directions is None else self.directions.pairs

    def settings(self, runner: Method) -> dict[str, Any]:
        """What a manifest says of them."""
        neurons = np.ascontiguousarray(self.neurons)
        return {
            "neurons": [list(neurons.shape), hashlib.sha256(neurons.tobytes()).hexdigest()],
            "directions": None if self.directions is None else self.directions.digest,
            "shifts": self.shifts.tolist(),
            "axis": self.axis,
            "site": self.spot.site.name,
            "resolution": self.fine.resolution,
            "tol": self.fine.tol,
            "metrics": list(self.fine.metrics),
            "method": runner.name,
        }


@dataclass
class _Computing:
    """Computes curves of some prompts and some of the neurons."""

    host: Host
    runner: Method
    request: Request
    asked: _Curves

    def __call__(self, shard: Shard) -> tuple[Sweep, np.ndarray]:
        """Return a shard, and the log-probs [p, 2 K] of the watched tokens of its prompts."""
        assert shard.neurons is not None
        asked, prompts, own = self.asked, slice(*shard.prompts), slice(*shard.neurons)
        some = self.request.take(range(*shard.prompts))
        of = prompts if asked.neurons.ndim == 3 else slice(None)
        pairs = asked.neurons[..., own, :][of]
        written = some.unrolled(each=True)
        n = len(written) // len(some)
        each = torch.from_numpy(pairs).expand(len(some), -1, 2).repeat_interleave(n, 0)
        more: dict[str, Any] = {}
        if asked.fine.resolution == "spectral":
            watched, activation, curves, error, n_rows = self._spectral(written, each)
        else:
            given = torch.from_numpy(asked.shifts)
            if asked.axis in ABLATIONS:
                given = self._put_in[prompts, own].repeat_interleave(n, 0)
            watched, activation, curves, more = self._grid(written, each, given)
            error, n_rows = np.zeros(curves.shape[:3], dtype=curves.dtype), curves[:, 0].size
        own_logprob, other = np.split(watched, 2, axis=1)
        base, base_tokens = some.parted(own_logprob)
        change, tokens = some.parted(curves)
        if "logit_diff" in asked.fine.metrics:
            more["logit_diff"] = change[:, 0] - change[:, 1]
        found = Sweep(
            **some.fields(),
            **self.host.identity(),
            neurons=asked.named[..., own, :][of],
            shifts=asked.shifts,
            axis=asked.axis,
            site=asked.spot.site.name,
            method=self.runner.name,
            resolution=asked.fine.resolution,
            base_logprob=some.squeeze(base),
            base_token_logprob=some.squeezed(base_tokens),
            logprob_shift=np.ascontiguousarray(some.squeeze(change)),
            token_logprob_shift=some.squeezed(tokens),
            activation=some.by_prompt(activation),
            error=some.squeeze(some.parted(error)[0]),
            rows=n_rows,
            **more,
        )
        return found, np.concatenate([base, some.parted(other)[0]], axis=1)

    @cached_property
    def _put_in(self) -> torch.Tensor:
        """What an ablation puts in the place of each neuron [P, N, 1]: of all prompts at once."""
        neurons = torch.from_numpy(self.asked.neurons).expand(len(self.request), -1, 2)
        found = activations(self.host, self.runner, self.request, neurons, self.asked.spot)
        return ABLATIONS[self.asked.axis].values(found)

    def _spectral(self, request: Request, neurons: torch.Tensor) -> tuple[Any, ...]:
        """Watched [P, 2 C], activation [P, N], curves, their errors, and rows."""
        opened = self.runner.open(request, self.asked.spot)
        eps = spectral.row_eps(self.host.precision)
        found = spectral.measure(
            opened, neurons.numpy(), self.asked.shifts, tol=self.asked.fine.tol, eps=eps
        )
        check_finite(self.host.model, found.watched)
        return found.watched, found.activation, found.change, found.error, found.rows

    def _grid(
        self, request: Request, neurons: torch.Tensor, amounts: torch.Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Every one of ``amounts`` [J] or [P, N, J].

        Returns watched [P, 2 C], activation [P, N], curves [P, C, N, J] and the further metrics.
        """
        metrics, (P, N, _), J = self.asked.fine.metrics, neurons.shape, amounts.shape[-1]
        each = amounts.expand(P, N, J)

        def rows(first: int, last: int) -> Rows:
            return sweep_rows(neurons[first:last], each[first:last])

        readings = bool({"kl", "rank"} & set(metrics))
        work = Work.of(request, rows, neurons, self.asked.spot, readings=readings)
        watched, change, activation = run(self.host, self.runner, request, work, P * N * J)
        columns = change.reshape(P, N, J, -1).transpose(0, 3, 1, 2)
        more: dict[str, Any] = {}
        if "kl" in metrics:
            more["kl"] = np.ascontiguousarray(columns[:, request.K])
        if "rank" in metrics:
            rank = columns[:, request.K + 1 : -1].astype(np.int64)
            more["rank"] = np.ascontiguousarray(request.squeeze(rank))
            more["top_changed"] = columns[:, -1] > 0
        return watched, activation, columns[:, : request.columns.shape[1]], more
