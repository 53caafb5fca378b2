"""How much of a neuron's empirical gradient survives low precision: delta and full forwards.

Each precision is held against float64 forwards of the same weights, so that what is seen is the
rounding of the arithmetic and nothing else. ``bench.curvature`` is the other half.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import negkernel
from bench.contest import agree
from bench.precisions import Stored, same_weights, stored
from bench.registry import Settings
from bench.report import Record, Value
from bench.subjects import Subject, subjects
from negkernel.testing.exact import exact_float64

GOAL = 0.9999  # and every sign right
# Full bf16 forwards must be visibly wrong on the model, or there is nothing to be better than.
LOST = 0.9
# float32 full forwards of the same weights lose 1e-4 of the largest NEG at most: more means that
# the contestants do not compute the same thing.
BUDGET = 1e-3

METHODS = ("full", "delta")


@dataclass(frozen=True)
class Measured:
    """NEG and NeurGrad [P, N] of a subject's neurons by one path in one precision.

    ``neurgrad`` is None where there are no gradients, ``problem`` says why.
    """

    neg: NDArray[np.float64]
    neurgrad: NDArray[np.float64] | None
    seconds: float
    problem: str = ""


def run(settings: Settings) -> list[Record]:
    """Sweep neurons over the layers by +-2 in every precision; truth is float64."""
    records: list[Record] = []
    for subject in subjects(settings.device, quick=settings.quick):
        records += _fidelity(subject, 4 if settings.quick else 10)
    return records


def _fidelity(subject: Subject, shifts: int) -> Iterator[Record]:
    grid = np.linspace(-2, 2, shifts)
    P, N, _ = subject.neurons.shape
    case = f"{subject.name}, {P} x {N} neurons"
    unchanged: Measured | None = None
    for one in stored(subject.model, subject.prompts[0]):
        if not isinstance(one, Stored):
            name, reason = one
            for method in METHODS:
                yield Record(case, f"{method}, {name}", _measures(None, None, None), reason)
            continue
        if unchanged is None or not same_weights(subject.model, one.exact):
            truth = _truth(subject, one, grid)
        else:
            truth = unchanged
        if unchanged is None:
            unchanged = truth
            note = f"{subject.note}; +-2, {shifts} shifts"
            yield Record(case, "full, exact float64", _measures(truth, truth, truth), note)
        plain: Measured | None = None
        for method in METHODS:
            found = _measure(subject, one, grid, method)
            plain = plain or found
            name = f"{method}, {one.name}"
            if one.name == "float32":
                agree({"truth": truth.neg, name: found.neg}, "truth", BUDGET)
            goal = _goal(subject, name, found, truth)
            yield Record(case, name, _measures(found, plain, truth) | goal, found.problem)


def _truth(subject: Subject, one: Stored, grid: NDArray[np.float64]) -> Measured:
    """NEG from whole forwards in exact float64, and NeurGrad through their graph."""
    with exact_float64(one.exact) as model:
        return _measure(subject, Stored(one.name, model, None, model), grid, "full")


def _measure(subject: Subject, one: Stored, grid: NDArray[np.float64], method: str) -> Measured:
    """NEG by shifts and NeurGrad at zero, both by ``method`` in the precision of ``one``."""
    operand = one.operand if method == "delta" else None
    engine = negkernel.Engine(one.model, subject.tokenizer, gemm_dtype=operand)
    start = time.perf_counter()
    sweep = engine.sweep(*subject.asked, grid, method=method)
    seconds = time.perf_counter() - start
    slopes = sweep.neg().astype(np.float64)
    try:
        gradients = engine.gradients(subject.prompts, subject.targets, method=method)
    except RuntimeError as reason:  # a kernel without a backward
        return Measured(slopes, None, seconds, f"no gradients: {str(reason).splitlines()[0]}")
    prompt = np.arange(len(slopes))[:, None]
    layer, index = np.moveaxis(subject.neurons, -1, 0)
    return Measured(slopes, gradients.neurgrad()[prompt, layer, index].astype(np.float64), seconds)


def _measures(
    found: Measured | None, plain: Measured | None, truth: Measured | None
) -> dict[str, Value]:
    """Correlations over all prompts and neurons at once.

    Parameters
    ----------
    plain : Measured
        By full forwards in the same precision: its NeurGrad is that of plain autograd.
    """
    if found is None or plain is None or truth is None:
        names = ("correlation", "signs", "neurgrad", "autograd", "autograd_truth", "median_neg")
        return dict.fromkeys((*names, "goal", "reached", "seconds"))
    return {
        "correlation": _r(found.neg, truth.neg),
        "signs": float(np.mean(np.sign(found.neg) == np.sign(truth.neg))),
        "neurgrad": _r(found.neurgrad, found.neg),
        "autograd": _r(plain.neurgrad, found.neg),
        "autograd_truth": _r(plain.neurgrad, truth.neg),
        "median_neg": float(np.median(np.abs(found.neg))),
        "goal": "",
        "reached": None,
        "seconds": found.seconds,
    }


def _r(a: NDArray[np.float64] | None, b: NDArray[np.float64]) -> float | None:
    return None if a is None else float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _goal(subject: Subject, name: str, found: Measured, truth: Measured) -> dict[str, Value]:
    """What the random model must show; the embedded ones are reported as they come."""
    if subject.name != "random Llama" or name not in ("delta, bf16", "full, bf16"):
        return {}
    r = _r(found.neg, truth.neg) or 0.0
    if name == "full, bf16":
        return {"goal": f"< {LOST}", "reached": r < LOST}
    signs = bool((np.sign(found.neg) == np.sign(truth.neg)).all())
    return {"goal": f">= {GOAL}", "reached": r >= GOAL and signs}
