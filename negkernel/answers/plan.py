"""What a sweep will cost before it runs: rows, FLOPs, bytes, and seconds from a short trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from negkernel.answers.costs import Sizes, on_devices, prefills
from negkernel.answers.trial import Size, try_out
from negkernel.arguments import check_flag
from negkernel.methods.base import Method
from negkernel.request.directions import Directions
from negkernel.request.prompts import Request

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
    device_bytes : dict
        Memory of each device: its weights, and the scratch. Weights that are fetched when they are
        needed are those of "elsewhere".
    weight_bytes, passes : int
        Bytes of weights that a pass over all layers reads, and how many passes there are; 0 passes
        where the method does not tell.
    bound_rows : int or None
        Rows of a pass from which on arithmetic takes longer than reading the weights, by the trial.
    """

    method: str
    prompts: int
    rows: int
    flops: float
    scratch_bytes: int
    result_bytes: int
    seconds: float | None = None
    resolution: str = "grid"
    device_bytes: dict[str, int] = field(default_factory=dict)
    weight_bytes: int = 0
    passes: int = 0
    bound_rows: int | None = None

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
            f"{_size(self.weight_bytes)} of weights a pass{self._bound}; method {self.method}"
        )

    @property
    def _bound(self) -> str:
        passes = f" x {self.passes:,}" if self.passes else ""
        if self.bound_rows is None:
            return passes
        return f"{passes}, bound by arithmetic from {self.bound_rows:,} rows"


@dataclass(frozen=True)
class Question:
    """What is priced, and by whom it would be answered.

    Attributes
    ----------
    engine : Engine
    request : Request
        P prompts with K targets each; those of several tokens written out, a prompt for each.
    runner : Method
        What will run.
    how : dict
        Further keywords of the engine's question.
    """

    engine: Any
    request: Request
    runner: Method
    how: dict[str, Any]

    def first(self, n: int) -> tuple[list[Any], dict[str, Any]]:
        """Arguments that ask of the first n prompts."""
        request = self.request
        if request.summed:
            at: Any = "all"
        else:
            own = request.elsewhere
            at = None if own is None else [position[0] for position in own[:n]]
        prompts, how = request.tokens[:n], {"method": self.runner.name, "position": at, **self.how}
        if request.answers is None:
            return [prompts, request.target_ids[:n].tolist()], how
        if self.engine.task == "causal":
            ends = zip(prompts, request.positions, strict=False)
            prompts = [tokens[: last + 1] for tokens, last in ends]
        return [prompts, request.answers[:n]], how | {"target_tokens": "all"}

    def carried(self) -> list[int]:
        """How many positions of each prompt a shift reaches."""
        lengths = [len(ids) for ids in self.request.tokens]
        if self.engine.task == "masked":
            return lengths
        return [n - min(at) for n, at in zip(lengths, self.request.shifted, strict=True)]

    def memory(self, sizes: Sizes, rows: int) -> dict[str, Any]:
        """What a plan says of memory and of weights."""
        scratch = self.runner.scratch(self.request, rows)
        devices = on_devices(self.engine.model)
        here = {
            name: n + scratch for name, n in devices.items() if name not in ("elsewhere", "disk")
        }
        each = getattr(self.runner, "passes", None)
        return {
            "scratch_bytes": scratch,
            "device_bytes": {**devices, **here},
            "weight_bytes": sizes.weight_bytes,
            "passes": 0 if each is None else each(self.request, -(-rows // len(self.request))),
        }


def plan_gradients(question: Question, *, calibrate: bool) -> Plan:
    """Price gradients; see :meth:`negkernel.Engine.plan`."""
    check_flag("calibrate", calibrate)
    engine, request, runner = question.engine, question.request, question.runner
    sizes, (P, K) = Sizes.of(engine), request.target_ids.shape
    bases = prefills(sizes, request, runner, engine.task)
    prices = bases + _slopes(sizes, question)
    seconds = None
    if calibrate:

        def run(size: Size) -> None:
            asked, how = question.first(size[0])
            engine.gradients(*asked, **how)

        seconds = try_out(run, lambda size: float(prices[: size[0]].sum()), (P, 1)).seconds
    return Plan(
        method=runner.name,
        prompts=P,
        rows=0,
        flops=float(prices.sum()),
        result_bytes=(P * (K + 1) * sizes.L * sizes.I + P * K) * sizes.itemsize,
        seconds=seconds,
        **question.memory(sizes, P * K),
    )


def plan_sweep(
    question: Question,
    grid: tuple[np.ndarray | Directions, np.ndarray],
    *,
    resolution: str,
    calibrate: bool,
) -> Plan:
    """Price a sweep; see :meth:`negkernel.Engine.plan`.

    Parameters
    ----------
    question : Question
    grid : int array [N, 2] or [P, N, 2] or Directions, float array [J]
        Checked neurons and shifts.
    resolution : {"grid", "spectral"}
        A spectral sweep also takes the gradients of its prompts.
    """
    check_flag("calibrate", calibrate)
    engine, request, runner = question.engine, question.request, question.runner
    sizes, (P, K) = Sizes.of(engine), request.target_ids.shape
    given, shifts = grid
    neurons = given.pairs if isinstance(given, Directions) else given
    spectral = resolution == "spectral"
    J = min(len(shifts), SPECTRAL_ROWS) if spectral else len(shifts)
    pairs = np.broadcast_to(neurons, (P, *neurons.shape[-2:]))
    N = pairs.shape[1]
    prefill = prefills(sizes, request, runner, engine.task)
    slopes = _slopes(sizes, question) if spectral else np.zeros(P)
    lengths = [len(ids) for ids in request.tokens]
    carried = question.carried()

    def of_rows(p: int, neurons: slice | np.ndarray = slice(None)) -> float:
        layers = pairs[p, neurons, 0]
        return float(sizes.row(lengths[p], carried[p], layers, runner.name).sum())

    rows_once = sum(map(of_rows, range(P)))
    tried = None
    if calibrate:
        # Rows of a trial enter at layers in the same proportions as all do.
        spread = np.random.default_rng(0).permutation(N)

        def run(size: Size) -> None:
            p, rows = size
            chosen, some = spread[: max(1, rows // J)], np.resize(shifts, min(rows, J))
            few = given.take(chosen) if isinstance(given, Directions) else pairs[:p, chosen]
            asked, how = question.first(p)
            engine.sweep(*asked, few, some, **how)

        def cost(size: Size) -> float:
            p, rows = size
            if (p, rows) == (P, N * J):
                return float(prefill.sum()) + J * rows_once
            chosen = spread[: max(1, rows // J)]
            ran = min(rows, J) * sum(of_rows(one, chosen) for one in range(p))
            return float(prefill[:p].sum()) + ran

        tried = try_out(run, cost, (P, N * J))
    flops = float(prefill.sum()) + J * rows_once
    more = float(slopes.sum())
    return Plan(
        method=runner.name,
        prompts=P,
        rows=P * N * J,
        flops=flops + more,
        result_bytes=(P * N * (K * (len(shifts) + 1) + 1)) * sizes.itemsize,
        seconds=None if tried is None else tried.seconds * (flops + more) / flops,
        resolution=resolution,
        bound_rows=None if tried is None else tried.bound,
        **question.memory(sizes, P * N * J),
    )


def _slopes(sizes: Sizes, question: Question) -> np.ndarray:
    """FLOPs of each prompt's gradients [P], beside its prefill."""
    K, name = question.request.K, question.runner.name
    lengths = [len(ids) for ids in question.request.tokens]
    own = zip(lengths, question.carried(), strict=True)
    return np.array([sizes.gradient(S, carried, K, name) for S, carried in own])


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
