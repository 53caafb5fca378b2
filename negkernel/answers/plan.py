"""What a sweep will cost before it runs: rows, FLOPs, bytes, and seconds from a short trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.answers.costs import Sizes
from negkernel.arguments import check_flag
from negkernel.methods.base import Method
from negkernel.request.directions import Directions
from negkernel.request.prompts import Request

TRIAL_SECONDS = 0.4  # a trial batch that takes at least this long is trusted
TRIAL_ROWS = 2048
# Rows of a curve that a spectral sweep refines once: what most need at the default tolerance.
SPECTRAL_ROWS = 4


@dataclass(frozen=True)
class Plan:
    """The price of a sweep, or of gradients.

    Attributes
    ----------
    method : str
        What will run: "delta", "generic", "suffix" or "full".
    prompts, rows : int
        Prompts, and shifted forwards beside them; 0 rows for gradients. Of a spectral sweep those
        to be expected, since the curves decide how many they need.
    flops : float
        Floating-point operations of all matrix products and of attention.
    scratch_bytes : int
        Memory beside the model and the results; the engine's ``memory_budget`` bounds it.
    result_bytes : int
        Memory of the results.
    seconds : float or None
        Estimate from a trial on this machine; None without one.
    """

    method: str
    prompts: int
    rows: int
    flops: float
    scratch_bytes: int
    result_bytes: int
    seconds: float | None = None
    resolution: str = "grid"

    def __str__(self) -> str:
        price = "" if self.seconds is None else f", about {_duration(self.seconds)}"
        each = self.rows // self.prompts
        rows = " x 1 row" if each == 1 else f" x {each:,} rows" if each else ", gradients"
        if self.resolution == "spectral":
            rows = f" x about{rows[2:]} ({SPECTRAL_ROWS} a neuron, more where curves bend)"
        return (
            f"{self.prompts:,} prompt{'s' * (self.prompts != 1)}{rows}, "
            f"{self.flops:.2g} FLOP{price}; "
            f"{_size(self.scratch_bytes)} of scratch, {_size(self.result_bytes)} of results; "
            f"method {self.method}"
        )


def plan_gradients(
    engine: Any, request: Request, runner: Method, how: dict[str, Any], *, calibrate: bool
) -> Plan:
    """Price gradients; see :meth:`negkernel.Engine.plan`.

    Parameters
    ----------
    engine : Engine
        Whose model runs.
    request : Request
        P prompts with K targets each.
    runner : Method
        What will run.
    how : dict
        Further keywords of :meth:`Engine.gradients`.
    """
    check_flag("calibrate", calibrate)
    sizes, (P, K) = Sizes.of(engine), request.target_ids.shape
    prices = [
        sizes.gradient(len(ids), n, K, runner.name)
        for ids, n in zip(request.tokens, _carried(engine, request), strict=True)
    ]
    seconds = None
    if calibrate:
        n, spent = 0, 0.0
        while n < P and spent < TRIAL_SECONDS:
            n = min(P, 4 * n) or 1
            few = [request.tokens[:n], request.target_ids[:n].tolist()]
            at = _position(request, slice(0, n))
            start = time.perf_counter()
            engine.gradients(*few, method=runner.name, position=at, **how)
            spent = time.perf_counter() - start
        seconds = spent * sum(prices) / sum(prices[:n])
    results = (P * (K + 1) * sizes.L * sizes.I + P * K) * sizes.itemsize
    return Plan(
        method=runner.name,
        prompts=P,
        rows=0,
        flops=float(sum(prices)),
        scratch_bytes=runner.scratch(request, P * K),
        result_bytes=results,
        seconds=seconds,
    )


def plan_sweep(
    engine: Any,
    request: Request,
    runner: Method,
    grid: tuple[np.ndarray | Directions, np.ndarray],
    how: dict[str, Any],
    *,
    resolution: str,
    calibrate: bool,
) -> Plan:
    """Price a sweep; see :meth:`negkernel.Engine.plan`.

    Parameters
    ----------
    engine, request, runner
        As of :func:`plan_gradients`.
    grid : int array [N, 2] or [P, N, 2] or Directions, float array [J]
        Checked neurons and shifts.
    how : dict
        Further keywords of :meth:`Engine.sweep`.
    resolution : {"grid", "spectral"}
        A spectral sweep also takes the gradients of its prompts.
    """
    check_flag("calibrate", calibrate)
    sizes, (P, K) = Sizes.of(engine), request.target_ids.shape
    lengths, carried = [len(ids) for ids in request.tokens], _carried(engine, request)
    given, shifts = grid
    neurons = given.pairs if isinstance(given, Directions) else given
    spectral = resolution == "spectral"
    J = min(len(shifts), SPECTRAL_ROWS) if spectral else len(shifts)
    pairs = np.broadcast_to(neurons, (P, *neurons.shape[-2:]))
    N = pairs.shape[1]
    bases = sum(map(sizes.prefill, lengths))
    slopes = sum(sizes.gradient(*own, K, runner.name) for own in zip(lengths, carried, strict=True))
    prefills = slopes if spectral else bases
    per_row = [
        sizes.row(*own, runner.name) for own in zip(lengths, carried, pairs[..., 0], strict=True)
    ]
    row_flops = J * float(np.sum(per_row))
    seconds = None
    if calibrate:
        p = int(np.argmax(lengths))
        spread = np.linspace(0, N - 1, min(N, 16)).astype(int)
        asked = [request.tokens[p]], [request.target_ids[p].tolist()]
        at = _position(request, slice(p, p + 1))

        def run(n: int) -> None:
            chosen, some = spread[: max(1, n // J)], np.resize(shifts, min(n, J))
            few = given.take(chosen) if isinstance(given, Directions) else pairs[p, chosen]
            engine.sweep(*asked, few, some, method=runner.name, position=at, **how)

        def cost(n: int) -> float:
            return float(np.sum(per_row[p][spread[: max(1, n // J)]])) * min(n, J)

        per_prompt, per_flop = trial(run, cost, most=len(spread) * J)
        seconds = P * per_prompt + per_flop * (row_flops + prefills - bases)
    return Plan(
        method=runner.name,
        prompts=P,
        rows=P * N * J,
        flops=prefills + row_flops,
        scratch_bytes=runner.scratch(request, P * N * J),
        result_bytes=(P * N * (K * (len(shifts) + 1) + 1)) * sizes.itemsize,
        seconds=seconds,
        resolution=resolution,
    )


def _carried(engine: Any, request: Request) -> list[int]:
    """How many positions of each prompt a shift reaches."""
    lengths = [len(ids) for ids in request.tokens]
    if engine.task == "masked":
        return lengths
    return [n - min(at) for n, at in zip(lengths, request.shifted, strict=True)]


def _position(request: Request, prompts: slice) -> Any:
    """Where neurons of some prompts are shifted, as :class:`Engine` takes it."""
    if request.summed:
        return "all"
    return None if request.elsewhere is None else [at[0] for at in request.elsewhere[prompts]]


def trial(
    run: Callable[[int], Any], cost: Callable[[int], float], most: int
) -> tuple[float, float]:
    """Time batches of growing size.

    Parameters
    ----------
    run : callable
        ``run(n)`` computes n rows of one prompt.
    cost : callable
        ``cost(n)``: the FLOPs of those rows.
    most : int
        Rows that there are.

    Returns
    -------
    per_prompt, per_flop : float
        Seconds of a prompt without rows, and seconds of each FLOP of a row.
    """
    run(1)  # whatever a process does once
    few, n = _timed(run, 1), 1
    seconds = few
    while n < min(most, TRIAL_ROWS) and seconds < TRIAL_SECONDS:
        n = min(4 * n, most, TRIAL_ROWS)
        seconds = _timed(run, n)
    if n == 1:
        return 0.0, few / cost(1)
    # On a busy machine the small batch may be the slower one.
    per_flop = max(seconds - few, 0.1 * seconds) / (cost(n) - cost(1))
    return max(0.0, few - per_flop * cost(1)), per_flop


def _timed(run: Callable[[int], Any], n: int) -> float:
    start = time.perf_counter()
    run(n)
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
