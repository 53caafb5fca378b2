"""The last-token VJP: gradients of p(target) in every neuron at the price of one forward.

A causal LM's p(target) depends on the probed token's activations only through computations at
that token; the prefix keys and values are constants. So K labels of P prompts need one prefill
without a graph and P * K single-token vector-Jacobian products, carried here as the rows of one
batch from the LM head down, reading what they need from the :class:`~negkernel.delta.trace.Trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from negkernel.delta.prefix_tree import gather, pad_paths
from negkernel.delta.trace import LayerTrace, Trace
from negkernel.delta.vjp import attention_vjp, norm_vjp
from negkernel.families.activations import activate, activate_slope
from negkernel.families.parts import Attention, Block, Decoder, Norm
from negkernel.families.rotary import rotate, rotate_back
from negkernel.methods.readout_vjp import readout_gradient

# Gradients in the heads' outputs -> in queries, keys and values; takes the rotated queries too.
HeadsVJP = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@torch.no_grad()
def gradients(
    decoder: Decoder,
    trace: Trace,
    targets: Tensor,
    *,
    site: str,
    log: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Gradients of p(target) with respect to each layer's neurons, from the last layer down.

    Parameters
    ----------
    targets : Tensor [P, K] int64
    site : str
        A resolved site.
    log : bool
        Those of log p(target) instead, which do not vanish with it.

    Yields
    ------
    layer, gradient [P, K, I]
        ``dp(target) / da`` in the state dtype.
    """
    P, K = targets.shape
    prompt = torch.arange(P).repeat_interleave(K)
    g, factor = from_logits(decoder, trace, targets, log=log)
    for index in reversed(range(decoder.n_layers)):
        block, base = decoder.blocks[index], trace.layers[index]
        g, prompt = g.to(block.device), prompt.to(block.device)
        g = through_norm(block.mlp_sum, base.mlp_sum, g, prompt)
        neurons, g_mlp_in = through_mlp(block, base, g, prompt, site)
        yield index, (neurons * factor.to(block.device)).view(P, K, -1)
        if index:
            g = through_attention(block, base, trace, index, g, g_mlp_in, prompt)


def from_logits(
    decoder: Decoder, trace: Trace, targets: Tensor, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradient of p(target) in the residual stream before the final norm: [P * K, H].

    It lacks a factor [P * K, 1] that multiplies everything below, see
    :mod:`negkernel.methods.readout_vjp`.
    """
    P, K = targets.shape
    targets = targets.to(trace.logprob.device)
    head, slope = decoder.head, None
    if decoder.softcap is not None:  # d softcap(z)/dz = 1 - tanh(z / cap)^2
        slope = torch.cosh(trace.logits * (decoder.logit_scale / decoder.softcap)).pow(-2)
    g, factor = readout_gradient(
        trace.logprob,
        targets,
        lambda tokens: head.weight[tokens].to(decoder.precision.state),
        head.transpose,
        slope=slope,
        log=log,
    )
    g = g if decoder.logit_scale == 1.0 else g * decoder.logit_scale
    if decoder.projection is not None:
        g = decoder.projection.transpose(g)
    prompt = torch.arange(P, device=g.device).repeat_interleave(K)
    return through_norm(decoder.final_norm, trace.x_final, g, prompt), factor


def through_mlp(
    block: Block, base: LayerTrace, g: Tensor, prompt: Tensor, site: str
) -> tuple[Tensor, Tensor]:
    """Gradients in the layer's neurons [R, I], and in the MLP's input before its norm [R, H]."""
    spec = block.mlp
    g = g if block.residual_scale == 1.0 else g * block.residual_scale
    g = through_norm(block.mlp_out, base.mlp_out, g, prompt)
    g_hidden = spec.down.transpose(g)
    if base.gate is None or spec.gate is None:
        slope = activate_slope(base.up, spec.activation)[prompt]
        g_up = g_hidden * slope
        g_in = spec.up.transpose(g_up)
        neurons = {"post": g_hidden, "pre": g_up}
    else:
        g_up = g_hidden * activate(base.gate, spec.activation)[prompt]
        g_gate = g_hidden * (base.up * activate_slope(base.gate, spec.activation))[prompt]
        g_in = spec.up.transpose(g_up) + spec.gate.transpose(g_gate)
        neurons = {"post": g_hidden, "up": g_up, "gate": g_gate}
    x = base.x_in if block.parallel else base.x_mid
    return neurons[site], through_norm(block.mlp_in, x, g_in, prompt)


def through_attention(
    block: Block,
    base: LayerTrace,
    trace: Trace,
    index: int,
    g: Tensor,
    g_mlp_in: Tensor,
    prompt: Tensor,
    heads_vjp: HeadsVJP | None = None,
) -> Tensor:
    """Gradient in the layer's input, given those in its output and in the MLP's input.

    ``heads_vjp`` stands in for :func:`_heads_vjp` where rows see each their own.
    """
    spec = block.attention
    g_mid = g if block.parallel else g + g_mlp_in
    g_mid = through_norm(block.attention_sum, base.attention_sum, g_mid, prompt)
    g_out = g_mid if block.residual_scale == 1.0 else g_mid * block.residual_scale
    g_out = through_norm(block.attention_out, base.attention_out, g_out, prompt)
    g_heads = spec.output.transpose(g_out).view(len(g), spec.n_heads, -1)
    # In the rotated frame: turning a few queries is cheaper than turning back all keys.
    query = base.query
    if base.cos is not None and base.sin is not None:
        query = rotate(query, base.cos, base.sin)
    g_heads = g_heads.view(trace.n_prompts, -1, *g_heads.shape[1:])
    if heads_vjp is None:
        g_query, g_key, g_value = _heads_vjp(spec, base, trace, query, g_heads)
    else:
        g_query, g_key, g_value = heads_vjp(query, g_heads)
    if base.cos is not None and base.sin is not None:
        cos, sin = base.cos[prompt], base.sin[prompt]
        g_query, g_key = rotate_back(g_query, cos, sin), rotate_back(g_key, cos, sin)
    g_query = through_norm(spec.query_norm, base.query_raw, g_query, prompt)
    g_key = through_norm(spec.key_norm, base.key_raw, g_key, prompt)
    g_in = spec.query.transpose(g_query.flatten(1))
    g_in += spec.key.transpose(g_key.flatten(1))
    g_in += spec.value.transpose(g_value.flatten(1))
    g_in = through_norm(block.attention_in, base.x_in, g_in, prompt)
    return g_mid + g_in + g_mlp_in if block.parallel else g_mid + g_in


def _heads_vjp(
    spec: Attention, base: LayerTrace, trace: Trace, query: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in each prompt's own query, key and value: see :func:`attention_vjp`."""
    seen, length = pad_paths(trace.seen(spec.window))
    keys, values = gather(base.keys, seen), gather(base.values, seen)
    length = length.to(g.device)
    return attention_vjp(query, keys, values, length, g, scale=spec.scale, softcap=spec.softcap)


def through_norm(spec: Norm | None, x: Tensor | None, g: Tensor, prompt: Tensor) -> Tensor:
    """Take gradients back through a norm, in the shape it saw; unchanged where there is none."""
    if spec is None or x is None:
        return g
    g = g.view(len(g), *x.shape[1:])
    return norm_vjp(x, g, prompt, weight=spec.gain(), eps=spec.eps, kind=spec.kind)
