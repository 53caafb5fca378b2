"""The ladder of attempts: what would have to be faster than the Triton kernel to take its place.

`run` times them side by side; README.md beside this file says what each rung is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bench.op_calls import LLAMA_2_7B, LLAMA_3_1_8B, SMALL, Call, calls
from bench.report import Record, Value
from negkernel import ops
from negkernel.ops.attention import triton as attention_triton
from negkernel.testing.timing import interleave

TRITON, TENSOR_CORES, CUDA, GEMM = "Triton", "Triton, tf32x3", "CUDA C++", "the GEMM alone"
# A kernel of the ladder stays if it is so many times as fast as Triton's, and no less exact than
# twice eager PyTorch.
KEPT = 1.10


def run(device: str, *, quick: bool) -> list[Record]:
    """Time every rung of attention and log-prob at the shapes of real models."""
    shapes, rows, lengths = [LLAMA_2_7B, LLAMA_3_1_8B], 8192, [64] * 8
    if quick:
        shapes, rows, lengths = [SMALL], 8, [3, 5]
    head = torch.float32 if quick else torch.bfloat16
    records = []
    for widths in shapes:
        for call in calls(widths, rows=rows, lengths=lengths, device=device, head=head):
            if call.op in ("attention", "logprob"):
                case = f"{call.op}, {widths.name}, {rows:,} rows"
                records += _rungs(case, call, 2 if quick else 10, device)
    return records


def _rungs(case: str, call: Call, repeats: int, device: str) -> list[Record]:
    runs: dict[str, Callable[[Any], Tensor]] = {TRITON: lambda _: call.run("triton")}
    if call.op == "attention":
        runs[TENSOR_CORES] = lambda _: _with_tensor_cores(call)
    why_not = _cuda(call)
    if why_not is None:
        runs[CUDA] = lambda _: call.run("cuda")
    errors = {name: _error(call, run) for name, run in runs.items()}  # warms them up
    eager = _error(call, lambda _: call.run("reference"))
    if call.op == "logprob":
        dn, weight = call.arguments[0].to(call.arguments[1].dtype), call.arguments[1]
        runs[GEMM] = lambda _: torch.mm(dn, weight.t())
        runs[GEMM](None)
    times = interleave(runs, range(repeats), device)
    records = []
    for name, time in times.items():
        over_triton = times[TRITON].over(time)
        over_eager = errors[name] / max(eager, 1e-300) if name in errors else None
        keep = None
        if name in (TENSOR_CORES, CUDA):
            keep = over_triton >= KEPT and over_eager is not None and over_eager <= 2.0
        measures: dict[str, Value] = {
            "p50_us": 1e6 * time.p50,
            "times_as_fast": over_triton,
            "error": errors.get(name),
            "error_over_eager": over_eager,
            "keep": keep,
        }
        left_out = f"{CUDA} left out: {why_not}" if name == TRITON and why_not else ""
        records.append(Record(case, name, measures, left_out))
    return records


def _cuda(call: Call) -> str | None:
    """Return None if there is a CUDA kernel for this call here, else why not."""
    backend = ops.BACKENDS[call.op].get("cuda")
    if backend is None:
        return "there is none"
    why_not: str | None = backend.supports(*call.arguments, **call.options)
    return why_not


def _error(call: Call, run: Callable[[Any], Tensor]) -> float:
    """Largest error of some rows, as a fraction of the largest true value."""
    index = call.some_rows(32)
    truth = call.of_rows(index, torch.float64)
    return float((run(None)[index].double() - truth).abs().max() / truth.abs().max())


def _with_tensor_cores(call: Call) -> Tensor:
    with _precision("tf32x3"):
        return call.run("triton")


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """Let the attention kernel multiply in another way."""
    assert attention_triton.available() is None
    from negkernel.ops.attention import configs

    before, configs.PRECISION = configs.PRECISION, name
    try:
        yield
    finally:
        configs.PRECISION = before
