"""Gradients of every neuron, as the model is and along a path of scaled layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from negkernel.arguments import check_flag
from negkernel.delta import backward
from negkernel.delta.method import Delta, layer_activation
from negkernel.delta.trace import trace
from negkernel.host import Host
from negkernel.masked import MaskedDelta
from negkernel.methods import graph_gradients, graph_path
from negkernel.methods.base import Method
from negkernel.neurons import check_shifts
from negkernel.prompts import Request
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
    host: Host, request: Request, *, site: str, method: str, log: bool = False
) -> Iterator[LayerGradients]:
    """Answer :meth:`negkernel.Engine.stream_gradients`."""
    return _layers(host, request, host.site(site), _method(host, method), log)


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
    host: Host, request: Request, *, site: str, method: str, log: bool = False
) -> Gradients:
    """Answer :meth:`negkernel.Engine.gradients`."""
    check_flag("log", log)
    site = host.site(site)
    P, K, L, I = len(request), request.K, host.n_layers, host.n_neurons
    dtype = host.result_dtype
    prob, cg = np.empty((P, K), dtype), np.full((P, K, L, I), np.nan, dtype)
    activation = np.full((P, L, I), np.nan, dtype)
    for part in by_layer(host, request, site=site, method=method, log=log):
        prob[part.prompts] = part.prob.cpu().numpy()
        width = part.cg.shape[-1]
        cg[part.prompts, :, part.layer, :width] = part.cg.cpu().numpy()
        activation[part.prompts, part.layer, :width] = part.activation.cpu().numpy()
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
    host: Host, request: Request, scales: Sequence[float], *, site: str, method: str
) -> Gradients:
    """Answer :meth:`negkernel.Engine.path_gradients`."""
    site = host.site(site)
    factors = [float(scale) for scale in check_shifts(scales, torch.float64, "scales")]
    runner = _method(host, method)
    plain = gradients(host, request, site=site, method=method)
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
    return Gradients(
        **request.fields(),
        **host.identity(),
        site=site,
        prob=plain.prob,
        cg=request.squeeze(cg),
        activation=plain.activation,
    )


def _method(host: Host, name: str) -> Method:
    """Method of that name; gradients have no suffix form, whole forwards take its place."""
    return host.method("full" if str(name) == "suffix" and host.task == "causal" else name)
