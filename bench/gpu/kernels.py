"""Every kernel of a GPU against float64: what must be green before a speed is printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from bench.op_calls import LLAMA_3_1_8B, SMALL, Call, Widths, calls
from negkernel import ops
from negkernel.testing.compare import assert_close

# No size is a multiple of a block, and one prompt has no prefix.
RAGGED = Widths("ragged", 60, 77, 6, 2, 333, "layer", "gelu_tanh", softcap=5.0)
UNGATED = replace(SMALL, name="ungated", activation="gelu", gated=False)
CASES = {
    "ragged": (RAGGED, 23, (5, 0, 33)),
    "one row": (UNGATED, 1, (7,)),
}
HEADS_OF_64 = Widths("heads of 64", 384, 1000, 6, 2, 1000, softcap=30.0)
LARGE = {
    "a model's": (LLAMA_3_1_8B, 200, (64, 0, 700)),
    "heads of 64": (HEADS_OF_64, 333, (0, 31, 32, 33, 1)),
}
STEPS = (1e-4, 1.0, 20.0)


def check(
    op: str, head: torch.dtype, device: str, *, large: bool = False, impl: str = "triton"
) -> float:
    """Run one op's kernel on all cases; return its largest error over what is allowed.

    Outputs are filled with NaN before they are written, inputs are given in strides too, and a
    second run must repeat the first bit for bit.

    Parameters
    ----------
    head : torch.dtype
        Of the LM head; the other ops read and write float32 whatever the model's dtype.
    large : bool
        Also at a real model's sizes.
    impl : str
        The backend; cases that it does not take are passed over.

    Raises
    ------
    AssertionError
        Naming the case and the worst element.
    """
    worst = 0.0
    assert (why_not := ops.BACKENDS[op][impl].available()) is None, f"{op}: {why_not}"
    for name, (widths, rows, lengths) in (CASES | (LARGE if large else {})).items():
        for step in STEPS:
            made = calls(widths, rows=rows, lengths=lengths, device=device, head=head, step=step)
            call = next(one for one in made if one.op == op)
            if ops.BACKENDS[op][impl].supports(*call.arguments, **call.options) is None:
                worst = max(worst, _check(call, step, impl, f"{op}, {head}, {name}, step {step}"))
    return worst


def _check(call: Call, step: float, impl: str, what: str) -> float:
    every = call.some_rows()
    truth = call.of_rows(every, torch.float64)
    eager = call.of_rows(every, torch.float32).double()
    allowed = 2 * (eager - truth).abs() + _rounding(call, step, truth)
    with _nan_filled():
        first, again = call.copied().run(impl), call.copied(strided=True).run(impl)
    assert torch.equal(first, again), f"{what}: a second run on strided inputs differs"
    assert_close(first.double(), truth, budget=allowed, what=what)
    return float(((first.double() - truth).abs() / allowed.clamp_min(1e-300)).max())


def _rounding(call: Call, step: float, truth: Tensor) -> Tensor:
    """What float32 may lose beside eager PyTorch's own luck, for each element.

    An exponent that moves by ``step`` carries an error of that many units, and the error of a sum
    grows with the root of its terms. Both are relative to the row's largest element, for log-probs
    to the largest of all, since a row may have a single one that is small by chance.
    """
    largest = truth.abs().flatten(1).amax(1).view(-1, *[1] * (truth.dim() - 1))
    terms, cut = 1, 0.0
    if call.op == "attention":
        terms = call.arguments[0].shape[-1] + int(call.arguments[8].diff().max())
    if call.op == "logprob":
        largest, terms = largest.max(), call.arguments[0].shape[1]
        if call.arguments[1].is_cuda and call.arguments[1].dtype != torch.float32:
            # A tensor core adds 16 products at a time and cuts off the digits that do not fit.
            cut = 2**-23 * terms / 16
    return (1e-6 * (1 + step) * max(1.0, terms**0.5 / 16) + cut) * largest


@contextmanager
def _nan_filled() -> Iterator[None]:
    """Fill memory that torch leaves uninitialised with NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
