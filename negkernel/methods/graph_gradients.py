"""Gradients through the model's own graph: the oracle, and the way for unknown architectures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel.hooks import edits as hooks
from negkernel.hooks.lease import borrowed
from negkernel.hooks.modules import FeedForward
from negkernel.methods.base import LayerGradients, over_positions
from negkernel.methods.forward import probed_logprob
from negkernel.methods.readout_vjp import answer_cotangent
from negkernel.request.answers import log_prob, starts
from negkernel.request.prompts import Request
from negkernel.sites import Site


def gradients(
    model: Any,
    feed_forwards: Sequence[FeedForward],
    request: Request,
    *,
    site: Site,
    log: bool = False,
) -> Iterator[LayerGradients]:
    """One forward with a graph and C backwards per prompt, one for each column of it.

    The gradient is taken in zero vectors added to the neurons at the shifted tokens, so neither
    the parameters' ``requires_grad`` nor their ``grad`` are touched.

    Parameters
    ----------
    log : bool
        Gradients of log p(target) instead of p(target).

    Yields
    ------
    LayerGradients
        Each layer of one prompt after the other; NaN in layers that did not run.

    Raises
    ------
    NotImplementedError
        The model's quantized layers have no backward on this device.
    """
    sites = site.caught(feed_forwards)
    with borrowed(model) as state:
        start = starts(request.reads)
        for p, (ids, read) in enumerate(zip(request.tokens, request.reads, strict=True)):
            state.restore()
            probes: dict[int, Tensor] = {}
            seen: dict[int, Tensor] = {}
            shifted = request.shifted[p]
            targets = torch.from_numpy(request.columns[start[p] : start[p + 1]])
            at = hooks.Probed(1, len(ids), shifted)
            edits = {layer: _probe(layer, at, probes, seen) for layer in range(len(sites))}
            with torch.enable_grad(), hooks.edited(sites, edits), _quantized_named(model):
                logprob = probed_logprob(model, torch.tensor([list(ids)]), read)[0]
                rows = slopes(logprob, targets, probes, log)
            yield from by_layer(request, p, logprob, rows, seen, site.widths(feed_forwards))


def slopes(
    logprob: Tensor, targets: Tensor, probes: dict[int, Tensor], log: bool
) -> list[dict[int, Tensor]]:
    """Gradients of the columns ``targets`` [T, K] of ``logprob`` [T, V] in each layer's probe."""
    columns = targets.to(logprob.device).unbind(1)
    return [_slopes(logprob, tokens, probes, log) for tokens in columns]


def by_layer(
    request: Request,
    p: int,
    logprob: Tensor,
    rows: Sequence[dict[int, Tensor]],
    seen: dict[int, Tensor],
    widths: np.ndarray,
) -> Iterator[LayerGradients]:
    """Say what :func:`slopes` ``rows`` and neurons ``seen[layer]`` [w, I] of prompt p come to."""
    start, shifted, read = starts(request.reads), list(request.shifted[p]), request.reads[p]
    targets = torch.from_numpy(request.columns[start[p] : start[p + 1]])
    told = [0 if len(shifted) == 1 else shifted.index(read[0])]
    own = log_prob(logprob.detach().cpu(), targets).sum(0, keepdim=True)
    for layer, width in enumerate(widths.tolist()):
        nothing = own.new_full((len(shifted), width), torch.nan)
        cg = torch.stack([row.get(layer, nothing).to(nothing) for row in rows])
        found = over_positions([cg], [seen.get(layer, nothing).to(nothing)], told)
        yield LayerGradients(slice(p, p + 1), layer, own, **found)


def _slopes(
    logprob: Tensor, tokens: Tensor, probes: dict[int, Tensor], log: bool
) -> dict[int, Tensor]:
    """Gradient of one column [T] in each layer's probe."""
    start, factor = answer_cotangent(logprob, tokens, log=log)
    layers = sorted(probes)
    # A layer that the answer does not hang on has gradients of 0.
    found = torch.autograd.grad(
        logprob,
        [probes[layer] for layer in layers],
        start,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    return {i: g * factor.to(g.device) for i, g in zip(layers, found, strict=True)}


@contextmanager
def _quantized_named(model: Any) -> Iterator[None]:
    """Say what is wrong where a quantized layer has no backward, which torch only hints at."""
    try:
        yield
    except RuntimeError as error:
        quantized = any(not weight.is_floating_point() for weight in model.parameters())
        if not quantized or isinstance(error, torch.OutOfMemoryError):
            raise
        raise NotImplementedError(
            f"the quantized layers of this {type(model).__name__} cannot be differentiated here "
            f"({error}); use method='delta' where it serves the model, or weights as they were "
            "before quantization"
        ) from error


def _probe(
    layer: int, at: hooks.Probed, probes: dict[int, Tensor], seen: dict[int, Tensor]
) -> hooks.Edit:
    def edit(x: Tensor) -> Tensor:
        here = at.index(x)[0]
        seen[layer] = x[here].detach().clone()
        probes[layer] = torch.zeros_like(seen[layer], requires_grad=True)
        out = x.clone()
        out[here] = x[here] + probes[layer]
        return out

    return edit
