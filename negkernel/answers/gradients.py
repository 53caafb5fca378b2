"""Gradients of every neuron, as the model is and along a path of scaled layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from negkernel.arguments import check_flag
from negkernel.delta import backward
from negkernel.delta.method import Delta, layer_activation
from negkernel.delta.trace import trace
from negkernel.host import Host
from negkernel.judge.choice import Asked, answer, choose
from negkernel.masked import MaskedDelta
from negkernel.methods import graph_gradients, graph_path
from negkernel.methods.base import Method
from negkernel.model.finite import check_finite
from negkernel.neurons import check_shifts
from negkernel.request.prompts import Request
from negkernel.results import Gradients


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """Gradients of one layer for consecutive prompts, on the device that computed them.

    Attributes
    ----------
    prompts : slice
        Which p of the request's P prompts.
    layer : int
    prob : Tensor [p, K]
        ``p(target)``, the same for every layer of these prompts.
    cg : Tensor [p, K, I]
        ``d p(target) / d activation``, or that of ``log p(target)``.
    activation : Tensor [p, I]
        Activation of each neuron at the probed position.
    """

    prompts: slice
    layer: int
    prob: Tensor
    cg: Tensor
    activation: Tensor


def by_layer(
    host: Host,
    request: Request,
    *,
    site: str,
    method: str,
    check: str | bool = "once",
    log: bool = False,
) -> Iterator[LayerGradients]:
    """Answer :meth:`negkernel.Engine.stream_gradients`."""
    site = host.site(site)
    runner = choose(host, request, _asked(host, site, method, check))
    return _layers(host, request, site, runner, log)


def _layers(
    host: Host, request: Request, site: str, runner: Method, log: bool
) -> Iterator[LayerGradients]:
    ids = torch.from_numpy(request.target_ids)
    if isinstance(runner, Delta):
        for first, last in runner.groups(request.tokens):
            base = trace(runner.decoder, request.tokens[first:last])
            chosen = ids[first:last].to(base.logprob.device)
            prob = base.logprob.gather(1, chosen).exp()
            for layer, gradient in backward.gradients(
                runner.decoder,
                base,
                ids[first:last],
                site=site,
                log=log,
            ):
                values = layer_activation(runner.decoder, base, layer, site)
                yield LayerGradients(slice(first, last), layer, prob, gradient, values)
        return
    if isinstance(runner, MaskedDelta):
        results = runner.gradients(request.tokens, request.positions, ids, site=site, log=log)
    else:
        results = graph_gradients.gradients(
            host.model,
            host.feed_forwards,
            request.tokens,
            request.positions,
            ids,
            site=site,
            log=log,
        )
    widths = host.widths.tolist()
    for p, (logprob, values, gradient) in enumerate(results):
        prob = logprob.exp()[None]
        for layer, width in enumerate(widths):
            yield LayerGradients(
                slice(p, p + 1),
                layer,
                prob,
                gradient[None, :, layer, :width],
                values[None, layer, :width],
            )


def gradients(
    host: Host, request: Request, *, site: str, method: str, check: str | bool, log: bool = False
) -> Gradients:
    """Answer :meth:`negkernel.Engine.gradients`."""
    check_flag("log", log)
    site = host.site(site)
    asked = _asked(host, site, method, check)
    return answer(
        host, request, asked, lambda runner: computed(host, request, runner, site, log=log)
    )


def _asked(host: Host, site: str, method: str, check: str | bool, kind: str = "gradients") -> Asked:
    def slopes(runner: Method, some: Request) -> Gradients:
        return computed(host, some, runner, site, log=True)

    return Asked(method, site, check, kind, slopes)


def computed(
    host: Host, request: Request, runner: Method, site: str, *, log: bool = False
) -> Gradients:
    """Gradients by ``runner``, or through the model's own graph where it has none of its own."""
    P, K, L, I = len(request), request.K, host.n_layers, host.n_neurons
    dtype = host.result_dtype
    prob, cg = np.empty((P, K), dtype), np.full((P, K, L, I), np.nan, dtype)
    activation = np.full((P, L, I), np.nan, dtype)
    for part in _layers(host, request, site, runner, log):
        prob[part.prompts] = part.prob.cpu().numpy()
        width = part.cg.shape[-1]
        cg[part.prompts, :, part.layer, :width] = part.cg.cpu().numpy()
        activation[part.prompts, part.layer, :width] = part.activation.cpu().numpy()
    check_finite(host.model, prob)
    return Gradients(
        **request.fields(),
        **host.identity(),
        site=site,
        prob=request.squeeze(prob),
        cg=request.squeeze(cg),
        activation=activation,
        log=log,
    )


def path_gradients(
    host: Host,
    request: Request,
    scales: Sequence[float],
    *,
    site: str,
    method: str,
    check: str | bool,
) -> Gradients:
    """Answer :meth:`negkernel.Engine.path_gradients`."""
    site = host.site(site)
    factors = [float(scale) for scale in check_shifts(scales, torch.float64, "scales")]
    asked = _asked(host, site, method, check, "path gradients")

    def compute(runner: Method) -> Gradients:
        plain = computed(host, request, runner, site)
        # One target a prompt is asked for without an axis K.
        cg = plain.cg.reshape(len(request), request.K, host.n_layers, host.n_neurons)
        for p, tokens in enumerate(request.tokens):
            ids = torch.from_numpy(request.target_ids[p])
            if isinstance(runner, Delta):
                layers = runner.path_gradients(tokens, ids, factors, site)
            else:
                layers = graph_path.path_gradients(
                    host.model,
                    host.feed_forwards,
                    tokens,
                    request.positions[p],
                    ids,
                    factors,
                    site=site,
                )
            for layer, gradient in layers:
                cg[p, :, layer, : gradient.shape[-1]] = gradient.cpu().numpy()
        return replace(plain, cg=request.squeeze(cg))

    return answer(host, request, asked, compute)
