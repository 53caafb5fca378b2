"""Gradients along a path through the model's own graph: the oracle, and any architecture's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from negkernel.hooks import edits as hooks
from negkernel.hooks.lease import borrowed
from negkernel.hooks.modules import FeedForward
from negkernel.methods.forward import probed_logprob
from negkernel.methods.readout_vjp import answer_cotangent
from negkernel.request.prompts import Request
from negkernel.sites import Site


def path_gradients(
    model: Any,
    feed_forwards: Sequence[FeedForward],
    request: Request,
    scales: Sequence[float],
    *,
    site: Site,
) -> Iterator[tuple[int, Tensor]]:
    """Layer by layer, all scales as one batch of whole prompts; K backwards each.

    Parameters
    ----------
    request : Request
        Of one prompt.
    scales : list of float
        Factors of a whole layer's neurons at the probed position.

    Yields
    ------
    layer, gradient [K, I]
        As :func:`negkernel.delta.integrated.path_gradients`.
    """
    (tokens,), (read,) = request.tokens, request.reads
    targets = torch.from_numpy(request.columns)
    m, S = len(scales), len(tokens)
    factor = torch.tensor(scales, dtype=torch.float64)[:, None]
    at = torch.arange(m) * S + read[0]
    sites = site.caught(feed_forwards)
    with borrowed(model) as state:
        for layer in range(len(sites)):
            state.restore()
            leaf: list[Tensor] = []

            def edit(x: Tensor, leaf: list[Tensor] = leaf) -> Tensor:
                scaled = (x[at] * factor.to(x)).detach().requires_grad_()
                leaf.append(scaled)
                out = x.clone()
                out[at] = scaled
                return out

            with torch.enable_grad(), hooks.edited(sites, {layer: edit}):
                ids = torch.tensor([list(tokens)]).expand(m, -1)
                logprob = probed_logprob(model, ids, read)
                rows = []
                for column in targets.to(logprob.device).unbind(1):
                    start, lacking = answer_cotangent(logprob, column)
                    (found,) = torch.autograd.grad(logprob, leaf, start, retain_graph=True)
                    rows.append((found.to(lacking) * lacking).mean(0))
            yield layer, torch.stack(rows).cpu()
