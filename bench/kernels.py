"""Each op against plain PyTorch, torch.compile and what the machine can do at best."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch

from bench.ceilings import Ceilings, ceilings
from bench.contest import agree
from bench.op_calls import BASE, BERT_BASE, LLAMA_2_7B, LLAMA_3_1_8B, SMALL, Call, Widths, calls
from bench.opponents.cross_entropy import cross_entropies
from bench.registry import Settings
from bench.report import Record, Value
from negkernel import ops
from negkernel.testing.timing import Timing, interleave

OURS, EAGER, COMPILED = "negkernel", "eager PyTorch", "torch.compile"
CUDA, GEMM = "CUDA C++", "the GEMM alone"
# Of the largest result, for float32 throughout; operands in half precision are exact, their
# products are summed in float32. A wrong row or term is off by its own size.
BUDGET = 1e-5
# Tensor cores cut off, 16 products at a time, what does not fit in the sum: 3e-5 at 4,096 terms.
TENSOR_CORE_BUDGET = 1e-4
# Least ratio to our time, on the CPU at 4,096 rows.
GOALS = {("norm", EAGER): 4.0, ("attention", EAGER): 2.0, ("mlp", EAGER): 2.0}
GOALS[("logprob", GEMM)] = 1 / 1.08


def run(settings: Settings) -> list[Record]:
    """Time every op at one model's shapes on the CPU, at three models' on a GPU."""
    on_gpu = torch.device(settings.device).type == "cuda"
    if not on_gpu:
        keep_freed_memory()
    if settings.quick:
        shapes, rows = [SMALL], 24
    elif on_gpu:
        shapes, rows = [LLAMA_2_7B, LLAMA_3_1_8B, BERT_BASE], 8192
    else:
        shapes, rows = [BASE], 4096
    records = []
    for widths in shapes:
        records += kernels(widths, rows=rows, settings=settings)
    return records


def keep_freed_memory() -> None:
    """Ask glibc to hand no memory back, so that every result is written to pages that exist.

    A result of 4,096 rows is large enough to come from the system each time, at a page fault for
    every 4 KiB, which would be two thirds of what is measured. The engine's batches are smaller
    than that (`negkernel.delta.budget.MAX_ROWS`). Contestants all write to the same memory; with
    another C library they all pay the faults.
    """
    if sys.platform == "linux":
        TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of malloc.h
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(TRIM_THRESHOLD, 2**31 - 1)
            mallopt(MMAP_MAX, 0)


def kernels(widths: Widths, *, rows: int, settings: Settings) -> list[Record]:
    """Time every op at one model's shapes."""
    on_gpu = torch.device(settings.device).type == "cuda"
    head = torch.bfloat16 if on_gpu else torch.float32
    best = {
        dtype: ceilings(settings.device, dtype, quick=settings.quick)
        for dtype in {head, torch.float32}
    }
    records = []
    for call in calls(widths, rows=rows, lengths=[64] * 8, device=settings.device, head=head):
        case = f"{call.op}, {widths.name}, {rows:,} rows"
        dtype = head if call.op == "logprob" else torch.float32
        records += _contest(case, call, best[dtype], settings, dtype)
    return records


def _contest(
    case: str, call: Call, best: Ceilings, settings: Settings, dtype: torch.dtype
) -> list[Record]:
    contestants: dict[str, Callable[[Any], Any]] = {
        OURS: lambda _: call.run(),
        EAGER: lambda _: call.run("reference"),
    }
    if not settings.quick:
        module = ops.BACKENDS[call.op]["reference"]
        compiled = torch.compile(getattr(module, call.op), dynamic=False)
        contestants[COMPILED] = lambda _: compiled(*call.arguments, **call.options)
    cuda = ops.BACKENDS[call.op].get("cuda")
    if cuda is not None and cuda.supports(*call.arguments, **call.options) is None:
        contestants[CUDA] = lambda _: call.run("cuda")
    if call.op == "logprob":
        dn, weight = call.arguments[0].to(dtype), call.arguments[1]
        product = torch.empty(len(dn), len(weight), dtype=dtype, device=dn.device)
        contestants[GEMM] = lambda _: torch.mm(dn, weight.T, out=product)
    note = f"ceilings: copy {best.copy / 1e9:.1f} GB/s, GEMM {best.gemm / 1e12:.3g} TFLOP/s"
    errors = _agreement(call, contestants)
    if call.op == "logprob":
        libraries, missing = cross_entropies(call)
        errors |= {one.name: one.error() for one in libraries}
        contestants |= {one.name: one.run for one in libraries}
        note += "".join(f"; {name} left out: {why}" for name, why in missing.items())
    times = interleave(contestants, range(settings.repeats), settings.device)
    cpu_goals = GOALS if settings.device == "cpu" else {}
    return [
        Record(
            case,
            name,
            _measures(time, times[OURS], call, best, cpu_goals.get((call.op, name)))
            | {"error": errors.get(name)},
            note=note if name == OURS else "",
        )
        for name, time in times.items()
    ]


def _agreement(call: Call, contestants: dict[str, Callable[[Any], Any]]) -> dict[str, float]:
    """Hold some rows of everyone's result against the reference in float64; it warms them up."""
    index = call.some_rows(32)
    errors: dict[str, float] = {}
    for name, run in contestants.items():
        # Afresh for each, since a norm changes its rows.
        truth = call.of_rows(index, torch.float64).cpu().numpy()
        result = run(None)
        if name != GEMM:
            values = {"float64": truth, name: result[index].double().cpu().numpy()}
            half = any(x.element_size() == 2 for x in call.arguments if isinstance(x, torch.Tensor))
            budget = TENSOR_CORE_BUDGET if half and index.is_cuda else BUDGET
            errors |= agree(values, "float64", budget)
    return errors


def _measures(
    time: Timing, ours: Timing, call: Call, best: Ceilings, goal: float | None
) -> dict[str, Value]:
    ratio = time.over(ours)
    return {
        "repeats": len(time.seconds),
        "p20_us": 1e6 * time.p20,
        "p50_us": 1e6 * time.p50,
        "p80_us": 1e6 * time.p80,
        "mbytes": call.size / 1e6,
        "gflop": call.flops / 1e9,
        "of_ceiling": best.seconds(call.size, call.flops) / time.p50,
        "ratio": ratio,
        "goal": goal,
        "reached": None if goal is None else ratio >= goal,
    }
