"""Gradients of p(target) in every neuron at the probed position of a masked model.

Every position feeds the probed one, so this is a whole backward; but the forward needs no graph,
the K labels of all prompts are rows of one batch, and of each layer one position's neurons are
kept. At both ends a single position is enough: above, only the probed position reaches the head;
below, only it is asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negkernel.delta.vjp import norm_vjp
from negkernel.families.activations import activate, activate_slope
from negkernel.families.parts import Norm
from negkernel.families.rotary import rotate_back
from negkernel.masked.carried import Carried
from negkernel.masked.parts import Encoder, EncoderLayer
from negkernel.masked.trace import LayerTrace, Trace
from negkernel.masked.vjp import attention_vjp
from negkernel.methods.readout_vjp import readout_gradient


@torch.no_grad()
def gradients(
    encoder: Encoder,
    trace: Trace,
    targets: Tensor,
    *,
    site: str,
    log: bool = False,
) -> Tensor:
    """Gradients of p(target) with respect to all neurons: [P, K, L, I] on the CPU.

    Parameters
    ----------
    targets : Tensor [P, K] int64
    site : str
        A resolved site.
    log : bool
        Those of log p(target) instead, which do not vanish with it.
    """
    P, K = targets.shape
    prompt = torch.arange(P).repeat_interleave(K)
    widest = max(layer.up.shape[-1] for layer in trace.layers)
    size = P, K, encoder.n_layers, widest
    out = torch.full(size, torch.nan, dtype=encoder.precision.state)
    g, factor = _from_logits(encoder, trace, targets, log)
    everywhere = False
    for index in reversed(range(encoder.n_layers)):
        layer, base = encoder.layers[index], trace.layers[index]
        device = layer.device
        at = Carried(prompt.to(device), trace.probe.to(device), everywhere, trace.length)
        neurons, g = _mlp(layer, base, g.to(device), at, site)
        neurons = (neurons * factor.to(device)).view(P, K, -1)
        out[:, :, index, : neurons.shape[-1]] = neurons.cpu()
        if index:
            g = _attention(layer, base, g, at, lowest=index == 1)
            everywhere = index > 1
    return out


def _from_logits(
    encoder: Encoder, trace: Trace, targets: Tensor, log: bool
) -> tuple[Tensor, Tensor]:
    """Gradient of p(target) in the last layer's output at the probed position: [P * K, H].

    It lacks a factor [P * K, 1] that multiplies everything below, see
    :mod:`negkernel.methods.readout_vjp`.
    """
    P, K = targets.shape
    head = encoder.head
    g, factor = readout_gradient(
        trace.logprob,
        targets.to(trace.logprob.device),
        lambda tokens: head.decoder.weight[tokens].to(encoder.precision.state),
        head.decoder.transpose,
        log=log,
    )
    prompt = torch.arange(P, device=g.device).repeat_interleave(K)
    g = _through(head.norm, trace.head_norm_in, g, prompt)
    g = g * activate_slope(trace.head_up, head.activation)[prompt]
    g = head.dense.transpose(g)
    if encoder.final_norm is not None:
        g = _through(encoder.final_norm, trace.final_norm_in, g, prompt)
    return g, factor


def _mlp(
    layer: EncoderLayer,
    base: LayerTrace,
    g: Tensor,
    at: Carried,
    site: str,
) -> tuple[Tensor, Tensor]:
    """Gradients in the probed neurons [R, I], and in the residual stream before the MLP [T, H]."""
    spec = layer.mlp
    if layer.post_norm:
        g = _through(layer.mlp_norm, at.base(base.mlp_norm_in), g, at.index)
    g_hidden = spec.down.transpose(g)
    probed, up = at.at_probe, at.base(base.up)
    if base.gate is None or spec.gate is None:
        g_up = g_hidden * activate_slope(up, spec.activation)[at.index]
        g_in = spec.up.transpose(g_up)
        neurons = {"post": g_hidden, "pre": g_up}
    else:
        gate = at.base(base.gate)
        g_up = g_hidden * activate(gate, spec.activation)[at.index]
        g_gate = g_hidden * (up * activate_slope(gate, spec.activation))[at.index]
        g_in = spec.up.transpose(g_up) + spec.gate.transpose(g_gate)
        neurons = {"post": g_hidden, "up": g_up, "gate": g_gate}
    if not layer.post_norm:
        g_in = _through(layer.mlp_norm, at.base(base.mlp_norm_in), g_in, at.index)
    return neurons[site][probed], g + g_in


def _attention(
    layer: EncoderLayer,
    base: LayerTrace,
    g: Tensor,
    at: Carried,
    *,
    lowest: bool,
) -> Tensor:
    """Gradient in the layer's input: at all positions, or where it is the ``lowest`` the probed.

    ``g`` [T, H] is the gradient in the residual stream after the attention.
    """
    spec = layer.attention
    R, S, P = at.rows, at.length, len(at.probe)
    if layer.post_norm and layer.attention_norm is not None:
        x = at.base(base.attention_norm_in)
        g = _through(layer.attention_norm, x, g, at.index)
    g_heads = spec.output.transpose(g).view(-1, R, spec.n_heads, spec.head_dim)
    query = base.query
    mask = None if base.mask is None else base.mask.expand(P, S, S)
    if not at.everywhere:
        query = at.base(query)[None]
        mask = None if base.mask is None else base.mask[at.probe][:, None]
    parts = attention_vjp(
        query, base.key, base.value, g_heads, at.prompt, scale=spec.scale, mask=mask
    )
    g_query, g_key, g_value = (part.flatten(0, 1) for part in parts)
    everywhere = at.all_positions()
    below = at.only_probe() if lowest else everywhere
    if not at.everywhere:
        g, g_query = at.spread(g), at.spread(g_query)
    if lowest:
        g, g_query, g_key, g_value = (t[everywhere.at_probe] for t in (g, g_query, g_key, g_value))
    if base.cos is not None and base.sin is not None:
        position = below.index // P if below.everywhere else at.probe[at.prompt]
        cos, sin = base.cos[position], base.sin[position]
        g_query, g_key = rotate_back(g_query, cos, sin), rotate_back(g_key, cos, sin)
    g_in = spec.query.transpose(g_query.flatten(1))
    g_in += spec.key.transpose(g_key.flatten(1))
    g_in += spec.value.transpose(g_value.flatten(1))
    if not layer.post_norm and layer.attention_norm is not None:
        x = below.base(base.attention_norm_in)
        g_in = _through(layer.attention_norm, x, g_in, below.index)
    return g + g_in


def _through(spec: Norm, x: Tensor, g: Tensor, index: Tensor) -> Tensor:
    """Take gradients back through a norm."""
    return norm_vjp(x, g, index, weight=spec.gain(), eps=spec.eps, kind=spec.kind)
