"""Prompts computed once and then shifted any number of times, in small portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from negkernel.delta import backward
from negkernel.delta.method import Delta, layer_activation
from negkernel.delta.trace import trace
from negkernel.methods.base import Method, Work
from negkernel.methods.full import Full
from negkernel.methods.suffix import Suffix
from negkernel.neuron_values import side_by_side
from negkernel.request.prompts import Request
from negkernel.results import Gradients
from negkernel.rows import Rows
from negkernel.spectral.estimate import STATE_ROUNDING
from negkernel.spectral.refine import Curves, refine

# Curves refined together: enough rows to fill a batch at every level, few enough to hold.
CURVES = 8192


@dataclass(frozen=True)
class Ground:
    """Prompts ``first:last`` of a request.

    Attributes
    ----------
    base_logprob : ndarray [p, K]
    activation : ndarray [p, L, I]
    slope : ndarray [p, K, L, I]
        Gradient of log p(target) in each neuron.
    shifted : callable
        Rows, sorted by prompt and numbered from 0 within the group -> changes of log p [r, K].
    watched : callable
        Returns the log-probs [p, 2 K] of the request's ``watched_ids``, once rows were shifted.
    noise : float
        Absolute rounding of one row in nats; 0 for the difference form, whose is relative.
    """

    first: int
    last: int
    base_logprob: np.ndarray
    activation: np.ndarray
    slope: np.ndarray
    shifted: Callable[[Rows], np.ndarray]
    watched: Callable[[], np.ndarray]
    noise: float = 0.0

    def only(self, prompt: int) -> Ground:
        """Restrict to one prompt of the group."""

        def shifted(rows: Rows) -> np.ndarray:
            return self.shifted(replace(rows, prompt=rows.prompt + prompt))

        chosen = slice(prompt, prompt + 1)
        return replace(
            self,
            first=self.first + prompt,
            last=self.first + prompt + 1,
            base_logprob=self.base_logprob[chosen],
            activation=self.activation[chosen],
            slope=self.slope[chosen],
            shifted=shifted,
            watched=lambda: self.watched()[chosen],
        )

    def curves(
        self, neurons: np.ndarray, shifts: np.ndarray, *, axis: str, tol: float, eps: float
    ) -> Curves:
        """Curves of ``neurons`` [p, N, 2] in the order of [p, N], see :func:`refine`."""
        P, N, _ = neurons.shape
        prompt = np.repeat(np.arange(P), N)
        layer, index = neurons.reshape(-1, 2).T
        slope = _along(self.slope[prompt, :, layer, index], axis, self.activation, prompt, neurons)
        parts = []
        for first in range(0, P * N, CURVES):
            chosen = slice(first, first + CURVES)

            def evaluate(which: np.ndarray, x: np.ndarray, first: int = first) -> np.ndarray:
                item = np.repeat(first + which, x.shape[1])
                rows = Rows(
                    prompt=torch.from_numpy(prompt[item]),
                    start=torch.arange(len(item) + 1),
                    layer=torch.from_numpy(layer[item]),
                    neuron=torch.from_numpy(index[item]),
                    amount=torch.from_numpy(x.flatten()),
                )
                return self.shifted(rows).reshape(*x.shape, -1)

            parts.append(
                refine(
                    evaluate,
                    None if slope is None else slope[chosen],
                    self.base_logprob[prompt[chosen]],
                    shifts,
                    tol=tol,
                    eps=eps,
                    noise=self.noise,
                )
            )
        return Curves(
            values=np.concatenate([part.values for part in parts]),
            error=np.concatenate([part.error for part in parts]),
            rows=np.concatenate([part.rows for part in parts]),
        )


def grounds(
    runner: Method,
    request: Request,
    gradients: Callable[[Request], Gradients],
    *,
    site: str,
    axis: str,
) -> Iterator[Ground]:
    """Yield all prompts of ``request``, in groups as ``runner`` takes them.

    ``gradients``, those of log p, serve the methods that have no trace to take them from.
    """
    targets = torch.from_numpy(request.target_ids)
    if isinstance(runner, Delta):
        for first, last in runner.groups(request.tokens):
            yield _traced(runner, request, first, last, targets[first:last], site, axis)
        return
    for p in range(len(request)):
        yield _untraced(runner, request.take([p]), p, gradients, site, axis)


def _traced(
    runner: Delta,
    request: Request,
    first: int,
    last: int,
    targets: torch.Tensor,
    site: str,
    axis: str,
) -> Ground:
    decoder = runner.decoder
    tokens = request.tokens[first:last]
    base = trace(decoder, tokens)
    layers = backward.gradients(decoder, base, targets, site=site, log=True)
    slope = {layer: gradient.cpu() for layer, gradient in layers}
    activation = [
        layer_activation(decoder, base, layer, site).cpu() for layer in range(decoder.n_layers)
    ]

    def shifted(rows: Rows) -> np.ndarray:
        return runner.changes(base, rows, targets, site, axis).numpy()

    ids = torch.from_numpy(request.watched_ids[first:last]).to(base.logprob.device)
    watched = base.logprob.gather(1, ids).cpu().numpy()
    return Ground(
        first=first,
        last=last,
        base_logprob=np.ascontiguousarray(watched[:, : request.K]),
        activation=side_by_side(activation).numpy(),
        slope=side_by_side([slope[layer] for layer in sorted(slope)]).numpy(),
        shifted=shifted,
        watched=lambda: watched,
    )


def _untraced(
    runner: Method,
    request: Request,
    index: int,
    gradients: Callable[[Request], Gradients],
    site: str,
    axis: str,
) -> Ground:
    """Ground for a method that starts from the prompt each time it runs."""
    targets = torch.from_numpy(request.target_ids)
    found = gradients(request)
    watched = np.empty((1, 2 * request.K), dtype=found.cg.dtype)

    def shifted(rows: Rows) -> np.ndarray:
        nothing = torch.empty(1, 0, 2, dtype=torch.int64)
        work = Work(
            tokens=request.tokens,
            positions=request.positions,
            targets=targets,
            watched=torch.from_numpy(request.watched_ids),
            rows=lambda first, last: rows,
            neurons=nothing,
            site=site,
            axis=axis,
        )
        (part,) = runner.run(work)  # of one prompt
        watched[:] = part.base_logprob.numpy()
        return part.logprob_shift.numpy()

    shifted(unshifted())  # for the base log-probs: p itself may underflow
    return Ground(
        first=index,
        last=index + 1,
        base_logprob=watched[:, : request.K].copy(),
        activation=found.activation,
        slope=found.cg.reshape(1, request.K, *found.activation.shape[1:]),
        shifted=shifted,
        watched=lambda: watched,
        noise=_state_noise(runner),
    )


def unshifted() -> Rows:
    """One row that leaves the first neuron of the first layer as it is."""
    zero = torch.zeros(1, dtype=torch.int64)
    return Rows(zero, torch.arange(2), zero, zero, torch.zeros(1, dtype=torch.float64))


def _state_noise(runner: Method) -> float:
    """Rounding of log p in the model's own forward, which "full" and "suffix" subtract twice."""
    if not isinstance(runner, Full | Suffix):
        return 0.0
    return STATE_ROUNDING * torch.finfo(runner.model.dtype).eps


def _along(
    gradient: np.ndarray,
    axis: str,
    activation: np.ndarray,
    prompt: np.ndarray,
    neurons: np.ndarray,
) -> np.ndarray | None:
    """Slope [n, K] of each curve at a shift of 0 from its gradient in the activation."""
    if axis == "value":  # the unshifted activation is not at 0
        return None
    if axis == "signed":
        return gradient
    layer, index = neurons.reshape(-1, 2).T
    own = activation[prompt, layer, index][:, None]
    return gradient * (np.sign(own) if axis == "magnitude" else own)
