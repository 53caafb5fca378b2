"""Every kernel that a GPU runs against float64, side by side: compiling is what takes the time."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import torch

from bench.kernel_checks import check
from bench.op_calls import NAMES
from bench.report import Record
from negkernel import ops
from negkernel.families.parts import Precision
from negkernel.testing.compare import assert_close

HEADS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Rows, outputs and terms of a product: one row, ragged, and then at a real model's sizes.
PRODUCTS = ((1, 8, 16), (3, 5, 8), (7, 24, 40))
LARGE = ((33, 4096, 1000), (300, 4096, 4096))


def jobs(device: str) -> list[tuple[str, str, str]]:
    """Return (op, dtype of the operands, backend); only products read half precision."""
    found = [("product", name, "cuBLAS") for name in HEADS]
    for op in NAMES:
        backends = ["triton"]
        if device != "cpu" and "cuda" in ops.BACKENDS[op]:
            backends += ["cuda"] * (ops.BACKENDS[op]["cuda"].available() is None)
        heads = HEADS if op == "logprob" else ["float32"]
        found += [(op, name, backend) for name in heads for backend in backends]
    return found


def checks(device: str, *, large: bool) -> list[Record]:
    """Check every kernel; on a GPU each in a process of its own, for they compile for minutes.

    Raises
    ------
    AssertionError
        Naming every kernel that fails, with its worst element.
    """
    todo = jobs(device)
    if device == "cpu":
        outcomes = [_outcome(*job, device, large) for job in todo]
    else:
        workers = min(len(todo), len(os.sched_getaffinity(0)))
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=workers, mp_context=spawn) as pool:
            outcomes = list(
                pool.map(_outcome, *zip(*[(*j, device, large) for j in todo], strict=True))
            )
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert not failures, "; ".join(failures)
    return [
        Record(op, backend, {"operands": operands, "of_budget": used})
        for (op, operands, backend), used in zip(todo, outcomes, strict=True)
    ]


def _outcome(op: str, operands: str, backend: str, device: str, large: bool) -> float | str:
    """Largest error over what is allowed, or why the check failed."""
    try:
        if op == "product":
            return products(HEADS[operands], device, large=large)
        return check(op, HEADS[operands], device, large=large, impl=backend)
    except Exception as error:  # one kernel must not hide what the others do
        return f"{op}, {operands}, {backend}: {type(error).__name__}: {error}"


def products(operand: torch.dtype, device: str, *, large: bool) -> float:
    """Check ``Precision.matmul``: operands in ``operand``, sums and results in float32."""
    precision, worst = Precision(torch.float32, operand), 0.0
    for R, out, terms in PRODUCTS + LARGE * large:
        torch.manual_seed(0)
        x = torch.randn(R, terms, device=device)
        weight = torch.randn(out, terms, device=device).to(operand)
        for rows, matrix in ((x, weight), (x, weight.t().contiguous().t())):
            got = precision.matmul(rows, matrix)
            truth = rows.to(operand).double() @ matrix.double().t()
            # As for log-prob: tensor cores cut off the digits that do not fit, 16 terms at a time.
            allowed = (1e-6 * max(1.0, terms**0.5 / 16) + 2**-23 * terms / 16) * truth.abs().max()
            assert got.dtype == torch.float32, f"{operand} products came back as {got.dtype}"
            assert_close(got.double(), truth, budget=allowed, what=f"{R} rows of {terms} terms")
            assert torch.equal(got, precision.matmul(rows, matrix)), "a second product differs"
            worst = max(worst, float(((got.double() - truth).abs() / allowed).max()))
    return worst
