"""How far the slope over a range of shifts is from the gradient at zero, without any rounding.

Everything is float64, so what separates NEG from NeurGrad here is the bend of the curves alone,
over ranges in absolute units (the paper's) and in units of each neuron's own activation.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import numpy as np

import negkernel
from bench.registry import Settings
from bench.report import Record
from bench.subjects import Subject, subjects

RANGES = {"magnitude": (0.1, 0.5, 2.0, 10.0), "scale": (0.1, 0.5, 2.0, 10.0)}
SHIFTS = 20  # the paper's step of 0.2 within +-2


def run(settings: Settings) -> list[Record]:
    """Compare NEG with the gradient at zero over each range, in float64."""
    records: list[Record] = []
    for subject in subjects(settings.device, quick=settings.quick):
        records += _curvature(subject, 4 if settings.quick else SHIFTS)
    return records


def _curvature(subject: Subject, shifts: int) -> Iterator[Record]:
    engine = negkernel.Engine(copy.deepcopy(subject.model).double(), subject.tokenizer)
    gradients = engine.gradients(subject.prompts, subject.targets)
    prompt = np.arange(len(subject.prompts))[:, None]
    layer, index = np.moveaxis(subject.neurons, -1, 0)
    activation = gradients.activation[prompt, layer, index]
    neurgrad = gradients.neurgrad()[prompt, layer, index]
    # A shift of 1 on the scale axis moves the activation by itself.
    slopes = {"magnitude": neurgrad, "scale": neurgrad * np.abs(activation)}
    note = subject.note
    for axis, ranges in RANGES.items():
        for far in ranges:
            start = time.perf_counter()
            grid = far * np.linspace(-1, 1, shifts)
            sweep = engine.sweep(*subject.asked, grid, axis=axis, method="delta")
            neg, slope = sweep.neg(), slopes[axis]
            reach = far / np.abs(activation) if axis == "magnitude" else np.full(neg.shape, far)
            yield Record(
                f"{subject.name}, {neg.shape[0]} x {neg.shape[1]} neurons",
                f"+-{far:g}" + (" of its activation" if axis == "scale" else ""),
                {
                    "in_activations": float(np.median(reach)),
                    "correlation": float(np.corrcoef(slope.ravel(), neg.ravel())[0, 1]),
                    "signs": float(np.mean(np.sign(slope) == np.sign(neg))),
                    "gap": float(np.median(np.abs(slope - neg)) / np.median(np.abs(neg))),
                    "linear": float(sweep.linear().mean()),
                    "median_neg": float(np.median(np.abs(neg))),
                    "largest_shift": float(np.abs(sweep.prob_shift()).max()),
                    "seconds": time.perf_counter() - start,
                },
                note,
            )
            note = ""
