"""Check every kernel that a GPU runs against float64, each in a process with a time limit.

A kernel that fails, hangs or does not compile is switched off, so that its reference runs in its
place; what is measured afterwards says so. Processes compile side by side, since compiling is what
takes the time; they tune nothing, and leave no choices behind for the shapes that are measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import torch

from bench.gpu.kernels import check
from bench.op_calls import NAMES
from bench.report import Record
from negkernel import ops
from negkernel.families.parts import Precision
from negkernel.testing.compare import assert_close

HEADS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Rows, outputs and terms of a product: one row, ragged, and then at a real model's sizes.
PRODUCTS = ((1, 8, 16), (3, 5, 8), (7, 24, 40))
LARGE = ((33, 4096, 1000), (300, 4096, 4096))
LIMIT = 150.0  # seconds for one kernel, compilation included

Job = tuple[str, str, str]
Outcome = float | str


def jobs(device: str) -> list[Job]:
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
    """Check every kernel, and switch off those that fail.

    Returns
    -------
    list of Record
        ``of_budget``: largest error over what is allowed; ``replaced_by`` where it failed.
    """
    todo = jobs(device)
    if device == "cpu":
        outcomes = [outcome(*job, device, large) for job in todo]
    else:
        outcomes = side_by_side(todo, [_command(job, device, large) for job in todo])
    return [_judged(job, result) for job, result in zip(todo, outcomes, strict=True)]


def _judged(job: Job, result: Outcome) -> Record:
    op, operands, backend = job
    if isinstance(result, float):
        return Record(op, backend, {"operands": operands, "of_budget": result})
    if op in ops.BACKENDS:
        ops.switch_off(op, backend, f"its check failed: {result}")
    instead = "the next backend" if op in ops.BACKENDS else "nothing: its users may be wrong"
    return Record(op, backend, {"operands": operands, "replaced_by": instead}, result)


def outcome(op: str, operands: str, backend: str, device: str, large: bool) -> Outcome:
    """Largest error over what is allowed, or why the check failed."""
    try:
        if op == "product":
            return products(HEADS[operands], device, large=large)
        return check(op, HEADS[operands], device, large=large, impl=backend)
    except Exception as error:  # one kernel must not hide what the others do
        return f"{op}, {operands}, {backend}: {type(error).__name__}: {error}".replace("\n", " ")


def side_by_side(
    todo: Sequence[Job], commands: Sequence[Sequence[str]], limit: float = LIMIT
) -> list[Outcome]:
    """Run a process for each job, as many at a time as there are cores; end those that hang."""
    most = max(1, len(os.sched_getaffinity(0)) - 1)
    waiting, running = list(range(len(todo))), dict[int, tuple[subprocess.Popen[str], float]]()
    outcomes: dict[int, Outcome] = {}
    while waiting or running:
        while waiting and len(running) < most:
            place = waiting.pop(0)
            process = subprocess.Popen(
                commands[place], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            running[place] = process, time.monotonic()
        time.sleep(0.2)
        for place, (process, begun) in list(running.items()):
            name = ", ".join(todo[place])
            if process.poll() is not None:
                outcomes[place] = _said(name, process)
            elif time.monotonic() - begun > limit:
                process.kill()
                process.communicate()
                outcomes[place] = f"{name}: no answer within {limit:.0f} s"
            if place in outcomes:
                del running[place]
    return [outcomes[place] for place in range(len(todo))]


def _said(name: str, process: subprocess.Popen[str]) -> Outcome:
    said, errors = process.communicate()
    try:
        result: Outcome = json.loads(said.splitlines()[-1])
        return result
    except (IndexError, ValueError):
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        return f"{name}: ended with status {process.returncode}: {last}"


def _command(job: Job, device: str, large: bool) -> list[str]:
    program = "import sys, json; from bench.gpu.checks import outcome; "
    program += "print(json.dumps(outcome(*sys.argv[1:5], sys.argv[5] == 'large')))"
    return [sys.executable, "-c", program, *job, device, "large" if large else "small"]


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
