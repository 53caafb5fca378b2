"""Time sweeps, gradients and maps of Llamas of real shapes with random weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch

import negkernel
from bench.ceilings import sustained
from bench.models import Draw, Shape, draws, random_llama
from bench.opponents.hooks import BATCH, hooks_rows, plain_forward
from bench.report import Record
from bench.roofline import sweep_flops
from negkernel.delta.budget import MAX_ROWS
from negkernel.results.statistics import neg, prob_shift
from negkernel.testing.exact import exact_float64
from negkernel.testing.timing import interleave
from neurgrad.attribution import integrated_gradients

LLAMA_2_7B = Shape(4096, 32, 32, 32, 11_008, 32_000)
LLAMA_3_1_8B = Shape(4096, 32, 32, 8, 14_336, 128_256)
OURS = "negkernel delta"
# Scratch for a batch of rows and for traces; the goal allows 6 GB beside the weights.
MEMORY = 6 << 30
# Below this the sweep computes something else: bf16 operands alone leave 0.9999 on a CPU.
WRONG = 0.99
NONE = torch.empty(0, dtype=torch.int64)


@dataclass
class Subject:
    """A model of a shape with bf16 weights, built when it is first asked for.

    Attributes
    ----------
    neurons, shifts, repeats : int
        Of a sweep, and of everything that is timed.
    prompts, tokens : int
        Prompts of a call of gradients, and tokens of every prompt.
    quick : bool
        Tiny shapes: measures nothing.
    std : float
        Standard deviation of the weights: the larger, the more the curves bend.
    """

    name: str
    shape: Shape
    device: str
    neurons: int = 1000
    shifts: int = 100
    prompts: int = 32
    tokens: int = 64
    repeats: int = 3
    quick: bool = False
    std: float = 0.02

    @cached_property
    def model(self) -> Any:
        """The model."""
        with _built_on(self.device, torch.bfloat16):
            model = random_llama(self.shape, dtype=torch.bfloat16, device=self.device, std=self.std)
        return model.requires_grad_(False)

    @cached_property
    def engine(self) -> negkernel.Engine:
        """An engine with the memory that the goal allows."""
        on_gpu = torch.device(self.device).type == "cuda"
        return negkernel.Engine(self.model, memory_budget=MEMORY if on_gpu else None)

    def release(self) -> None:
        """Make room for the next model."""
        for name in ("engine", "model"):
            self.__dict__.pop(name, None)
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()

    def rounds(self, layers: torch.Tensor, *, prompts: int = 1) -> list[Draw]:
        """Draw inputs: one to warm up and one for each timed round."""
        drawn = draws(self.shape, prompts=prompts, tokens=self.tokens, targets=1, layers=layers)
        return list(islice(drawn, self.repeats + 1))


def sweep(subject: Subject) -> list[Record]:
    """Sweep neurons spread over all layers, after their NEG agreed with float64."""
    s = subject
    layers = torch.arange(s.neurons) % s.shape.layers
    grid = np.linspace(-2, 2, s.shifts)
    inputs = s.rounds(layers)
    correlation = fidelity(s, inputs[0])  # raises before anything is timed
    rate = sustained(s.device, torch.bfloat16, _products(s), seconds=0.1 if s.quick else 2.0)
    rows = len(layers) * len(grid)
    # So many that the base forward, which every call repeats, is a tenth of a batch.
    some = torch.arange(min(10 * BATCH, len(layers)))

    def ours(draw: Draw) -> np.ndarray:
        request = draw.prompts, [draw.target], draw.neurons.numpy(), grid
        return s.engine.sweep(*request, method="delta").logprob_shift[0]

    def full(draw: Draw) -> np.ndarray:
        amounts = torch.full((len(some),), float(grid[-1]))
        return hooks_rows(s.model, draw.tokens, draw.target, draw.neurons[some], amounts).numpy()

    ours(inputs[0]), full(inputs[0])
    before = _allocated(s.device, peak=False)
    ours(inputs[0])
    scratch = _allocated(s.device, peak=True) - before
    times = interleave({"sweep": ours, "full": full}, inputs[1:], s.device)
    seconds = times["sweep"].p50
    case = f"{s.name}, {s.tokens} tokens, {len(layers):,} neurons x {len(grid)} shifts, bf16"
    return [
        Record(
            case,
            OURS,
            {
                "of_gemm": sweep_flops(s.shape, layers, len(grid), s.tokens) / seconds / rate,
                "over_full": times["full"].scaled(rows / len(some)).over(times["sweep"]),
                "scratch_gb": scratch / 1e9,
                "correlation": correlation,
                "seconds": seconds,
                "rows_per_s": rows / seconds,
                "gemm_tflop_per_s": rate / 1e12,
            },
            note=f"full forwards timed on {len(some)} rows, {BATCH} in a batch, and scaled",
        )
    ]


def fidelity(subject: Subject, draw: Draw) -> float:
    """Correlation of the NEG of neurons of all layers with float64 forwards of the same weights."""
    s, n = subject, min(64, subject.neurons)
    neurons, grid = draw.neurons[torch.linspace(0, s.neurons - 1, n).long()], np.linspace(-2, 2, 5)
    request = draw.prompts, [draw.target], neurons.numpy(), grid
    ours = s.engine.sweep(*request, method="delta").neg()[0]
    which = neurons.repeat_interleave(len(grid), 0)
    amounts = torch.from_numpy(grid).repeat(n)
    with exact_float64(copy.deepcopy(s.model).double()) as exact:
        base = plain_forward(exact, draw.prompts)[0].double().log_softmax(-1)[draw.target]
        change = hooks_rows(exact, draw.tokens, draw.target, which, amounts)
    if torch.device(s.device).type == "cuda":
        torch.cuda.empty_cache()
    shifts = prob_shift(base.cpu().numpy(), change.view(n, -1).numpy())
    correlation = float(np.corrcoef(ours, neg(grid, shifts))[0, 1])
    assert correlation >= WRONG, f"{s.name}: NEG correlates with float64 by only {correlation:.4f}"
    return correlation


def gradients(subject: Subject) -> list[Record]:
    """Gradients of one label for a batch of prompts, against a plain forward of them."""
    s = subject
    inputs = s.rounds(NONE, prompts=s.prompts)
    contestants = {
        "ours": lambda draw: s.engine.gradients(draw.prompts, [t[0] for t in draw.targets]),
        "forward": lambda draw: plain_forward(s.model, draw.prompts),
    }
    for run in contestants.values():
        run(inputs[0])
    times = interleave(contestants, inputs[1:], s.device)
    return [
        Record(
            f"{s.name}, gradients of one label, {s.prompts} prompts of {s.tokens} tokens, bf16",
            OURS,
            {
                "gradients_over_forward": times["ours"].over(times["forward"]),
                "seconds": times["ours"].p50,
                "forward_s": times["forward"].p50,
            },
            note="gradients of all neurons end in host memory, logits of the forward do not",
        )
    ]


def neg_map(subject: Subject) -> list[Record]:
    """NEG of every neuron on one prompt, by spectral sweeps."""
    s = subject
    draw = s.rounds(NONE)[0]
    found: list[Any] = []

    def ours(_: None) -> None:
        found.append(s.engine.neg_map(draw.prompts, [draw.target], radius=2.0, tol=1e-3))

    cold, warm = interleave({"map": ours}, [None, None], s.device)["map"].seconds
    neurons = found[0].neg.size
    return [
        Record(
            f"{s.name}, NEG of {neurons:,} neurons, one prompt of {s.tokens} tokens, +-2, tol 1e-3",
            "negkernel spectral",
            {
                "map_s": warm,
                "cold_map_s": cold,
                "rows_per_neuron": found[0].rows / neurons,
                "largest_error": float(found[0].error.max()),
                "neurons_per_s": neurons / warm,
            },
            note="cold: the first call of its kind in this run; map_s: the one after it",
        )
    ]


def integrated(subject: Subject) -> list[Record]:
    """Integrated gradients of all layers with 20 steps, on one prompt."""
    s = subject
    inputs = s.rounds(NONE)

    def ours(draw: Draw) -> np.ndarray:
        return integrated_gradients(s.engine, draw.prompts, [draw.target], steps=20)

    ours(inputs[0])
    times = interleave({"ours": ours}, inputs[1:], s.device)["ours"]
    case = f"{s.name}, integrated gradients of all layers, 20 steps, {s.tokens} tokens"
    return [Record(case, OURS, {"integrated_s": times.p50, "integrated_p80_s": times.p80})]


def _products(subject: Subject) -> list[tuple[int, int, int]]:
    """Return (rows, outputs, terms) of a layer's products at the size of a full batch."""
    s, rows = subject.shape, 64 if subject.quick else MAX_ROWS["cuda"]
    kv = s.hidden * s.kv_heads // s.heads
    widths = [(s.hidden, s.hidden)] * 2 + [(kv, s.hidden)] * 2
    widths += [(s.inner, s.hidden)] * 2 + [(s.hidden, s.inner)]
    return [(rows, out, terms) for out, terms in widths]


@contextmanager
def _built_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Let modules make their weights on ``device`` in ``dtype``: a 7B model does so in seconds."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _allocated(device: str, *, peak: bool) -> int:
    """Bytes that torch holds on a GPU, now or at most since it was last asked; 0 elsewhere."""
    if torch.device(device).type != "cuda":
        return 0
    if peak:
        return torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
