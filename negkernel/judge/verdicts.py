"""Remember what was found out about a model, for as long as it stays what it was."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from negkernel.judge.compare import HALF, Noise, disagreement
from negkernel.judge.library import largest_eps, refuse_missing
from negkernel.judge.reference import ModelFaultError, Reference, dense, is_quantized, wide
from negkernel.judge.slope import slope_disagreement
from negkernel.judge.trial import Trial, length_class, trials
from negkernel.methods.base import Method, Work
from negkernel.methods.full import Full
from negkernel.model.state import State, state_of
from negkernel.request.prompts import Request
from negkernel.request.rows import Rows
from negkernel.results import Gradients
from negkernel.sites import Spot

if TYPE_CHECKING:
    from negkernel.handle import Host

log = logging.getLogger(__name__)

Class = tuple[int, int]
Slopes = Callable[[Method, Request], Gradients]

# Methods whose rows carry differences in the dtype of states.
DIFFERENCES = ("delta", "generic")


@dataclass
class Verdicts:
    """What has been found out about a model in one state.

    Attributes
    ----------
    readable : bool
        All that the model runs is its library's, so that its weights tell what it computes.
    refused : dict
        The reason for each method that was found wanting.
    agreed : dict
        Length classes of the shortest and longest prompts that each method was right for.
    files : set of Path
        What the model's weights are read from at each call.
    """

    state: State = ()
    readable: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    agreed: dict[str, tuple[Class, Class]] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)


def verdicts_on(host: Host) -> Verdicts:
    """What is known of the model as it is now.

    Raises
    ------
    ValueError
        Weights that no loader has filled, or that are no longer where they are read from.
    """
    state = state_of(host.given)
    if state != host.verdicts.state:
        loaders = refuse_missing(host.model)
        host.verdicts = Verdicts(state, files={f for one in loaders.values() for f in one.files})
    for path in sorted(host.verdicts.files):
        if not path.exists():
            raise ModelFaultError(
                f"weights of this {type(host.model).__name__} are offloaded to {str(path)!r}, "
                "which is gone; put it back, or load the model anew"
            )
    return host.verdicts


def hear(
    host: Host,
    label: str,
    method: Method,
    reference: Reference,
    request: Request,
    check: str | bool,
) -> None:
    """Hold rows of ``method`` against the model, unless they were found right before.

    Raises
    ------
    NotImplementedError
        It computes something else than the model.
    ModelFaultError
        The model's own output is not a number.
    """
    if _known(host, label, request, check):
        return
    # delta multiplies by the dequantized matrices, which the kernels of a format only approximate.
    quantized = method.name == "delta" and any(map(is_quantized, host.model.modules()))
    eps = max(largest_eps(host.model, quantized=not quantized), _rounding(host))
    for trial in trials(request, each=check == "each", vocabulary=host.config.vocab_size):
        against = reference
        if quantized:
            trial = trial.longest()
            against = Reference(host.given, host.feed_forwards, reference.site, dense)
            report_kernels(reference, against, trial)
        found = disagreement(method, against, trial, Noise.of(eps))
        if found and method.name in DIFFERENCES and eps > HALF and not quantized:
            found = _in_float32(method, against, trial, eps) and found
        if found:
            raise NotImplementedError(found)
    _agree(host, label, request)


def _rounding(host: Host) -> float:
    """Return what products of differences are rounded to, which ``gemm_dtype`` may choose."""
    return torch.finfo(host.precision.operand).eps


def _in_float32(method: Method, reference: Reference, trial: Trial, eps: float) -> str | None:
    """Where a method in float32 differs from what the model would compute in float32.

    Rounding to half precision adds up in some models, the deeper the more, and their own log-probs
    are far from what their weights say.
    """
    against = Reference(reference.model, reference.feed_forwards, reference.site, wide)
    try:
        return disagreement(method, against, trial, Noise(base=eps / 2, row=0.05))
    except (RuntimeError, TypeError, ValueError) as error:
        return f"no forward in float32 ({error})"


def hear_slopes(
    host: Host,
    label: str,
    method: Method,
    reference: Reference,
    request: Request,
    slopes: Slopes,
    check: str | bool,
) -> None:
    """Hold gradients of ``method`` against shifts, on a short prompt; raises as :func:`hear`.

    The shifts are rows of the method, which were held against the model, or the model's own
    forwards where the gradients come from its graph.
    """
    if _known(host, label, request, check):
        return
    eps = max(largest_eps(host.model, quantized=True), _rounding(host))
    noise = Noise.of(eps)
    if method.name in DIFFERENCES:  # rounding of their rows is a share of the effect
        noise = replace(noise, base=Noise.of(0.0).base)
    trial = trials(request, each=False, vocabulary=host.config.vocab_size)[0]
    some = replace(
        request.take([0]).first(),
        tokens=trial.tokens[:1],
        positions=trial.positions[:1],
        target_ids=np.array([trial.targets[0][:1]]),
        spelling_ids=np.array([[-1]]),
        single=True,
        elsewhere=None,
        summed=False,
    )
    found = slopes(method, some)
    gradient = [
        torch.from_numpy(of[:width])
        for of, width in zip(found.cg[0], reference.widths, strict=True)
    ]
    if isinstance(method, Full):
        at = trial.tokens[0], trial.positions[0]
        base = reference.logprob(*at)
        target = trial.targets[0][0]
        logprob = float(base[target])

        def change(row: Rows) -> float:
            return float(reference.shifted(*at, at[1], row)[target]) - logprob

    else:
        logprob = float(np.log(np.maximum(found.prob[0], np.finfo(found.prob.dtype).tiny)))

        def change(row: Rows) -> float:
            targets = torch.from_numpy(some.target_ids)
            work = Work(
                tokens=some.tokens,
                read=some.reads,
                targets=targets,
                watched=targets,
                rows=lambda first, last: row,
                neurons=torch.empty(1, 0, 2, dtype=torch.int64),
                spot=Spot(reference.site, "signed"),
            )
            (part,) = method.run(work)
            return float(part.logprob_shift[0, 0])

    reason = slope_disagreement(gradient, change, logprob, noise)
    if reason is not None:
        raise NotImplementedError(reason)
    _agree(host, label, request)


def _known(host: Host, label: str, request: Request, check: str | bool) -> bool:
    """Whether prompts of these lengths need no check."""
    if check is False:
        return True
    low, high = _classes(host, request)
    known = host.verdicts.agreed.get(label)
    return check == "once" and known is not None and known[0] <= low and high <= known[1]


def _agree(host: Host, label: str, request: Request) -> None:
    low, high = _classes(host, request)
    first, last = host.verdicts.agreed.get(label, (low, high))
    host.verdicts.agreed[label] = min(low, first), max(high, last)
    host.verdicts.state = state_of(host.given)  # a first forward may repack weights


def _classes(host: Host, request: Request) -> tuple[Class, Class]:
    lengths = [len(tokens) for tokens in request.unrolled().tokens]
    low, high = (length_class(host.config, length) for length in (min(lengths), max(lengths)))
    return low, high


def report_kernels(own: Reference, dense: Reference, trial: Trial) -> None:
    """Log how far a format's own kernels are from its matrices in floating point."""
    at = trial.tokens[-1], trial.positions[-1]
    distance = float((own.logprob(*at) - dense.logprob(*at)).abs().amax())
    log.info(
        "delta multiplies by the dequantized matrices of this %s: its own kernels move log-probs "
        "by up to %.2g nat",
        type(own.model).__name__,
        distance,
    )
