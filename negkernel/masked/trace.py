"""What the masked delta forward takes from the base computation of its prompts.

Prompts of one length are traced together. Everything is laid out position first, ``[S, P, ...]``:
flattened, row ``s * P + p`` is position s of prompt p, and the difference form's rows, laid out
``[S, R, ...]`` with rows sorted by prompt, visit those in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from negkernel.families.activations import activate
from negkernel.families.parts import Norm
from negkernel.families.rotary import rotate
from negkernel.masked.parts import Encoder, EncoderLayer


@dataclass(frozen=True)
class LayerTrace:
    """The base of one layer.

    ``attention_norm_in`` and ``mlp_norm_in`` are what the layer's two norms read: residual sums
    where the norms come after, the residual stream where they come before.
    """

    attention_norm_in: Tensor  # [S, P, H]
    query: Tensor  # [S, P, heads, D], rotated
    key: Tensor  # [S, P, heads, D], rotated
    value: Tensor  # [S, P, heads, D]
    mlp_norm_in: Tensor  # [S, P, H]
    gate: Tensor | None  # [S, P, I]
    up: Tensor  # [S, P, I]
    mask: Tensor | None  # [S, S] bool, True where a query (row) sees a key; None: everything
    cos: Tensor | None  # [S, D]
    sin: Tensor | None  # [S, D]


@dataclass(frozen=True)
class Trace:
    """Base computation of P prompts of one length S."""

    probe: Tensor  # [P] int64, the probed position of each prompt, on the CPU
    layers: list[LayerTrace]
    final_norm_in: Tensor  # [P, H] last layer's output at the probed position
    head_up: Tensor  # [P, H] output of the head's dense layer
    head_norm_in: Tensor  # [P, H]
    logprob: Tensor  # [P, V]

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return len(self.probe)

    @property
    def length(self) -> int:
        """Tokens of each prompt."""
        return self.layers[0].up.shape[0]

    def at_probe(self, x: Tensor) -> Tensor:
        """Return ``x`` [S, P, ...] at each prompt's probed position: [P, ...]."""
        return x[self.probe.to(x.device), torch.arange(self.n_prompts, device=x.device)]


@torch.no_grad()
def trace(encoder: Encoder, prompts: Sequence[Sequence[int]], probe: Tensor) -> Trace:
    """Run the base computation of ``prompts``, all of one length, probed at ``probe`` [P]."""
    ids = torch.tensor([list(prompt) for prompt in prompts])
    x = encoder.embed(ids.to(encoder.layers[0].device)).transpose(0, 1).contiguous()
    layers = []
    for layer in encoder.layers:
        x, base = _layer(layer, x.to(layer.device))
        layers.append(base)
    x = x[probe.to(x.device), torch.arange(len(probe), device=x.device)]
    head = encoder.head
    n = x if encoder.final_norm is None else encoder.final_norm(x)
    head_up = head.dense.affine(n)
    head_norm_in = activate(head_up, head.activation)
    logits = head.decoder.affine(head.norm(head_norm_in))
    return Trace(probe, layers, x, head_up, head_norm_in, F.log_softmax(logits, dim=-1))


def _layer(layer: EncoderLayer, x: Tensor) -> tuple[Tensor, LayerTrace]:
    spec, mlp = layer.attention, layer.mlp
    S, P, H = x.shape
    n = x.view(S * P, H)
    n = n if layer.post_norm else _norm(layer.attention_norm, n)
    query, key, value = (
        projection.affine(n).view(S, P * spec.n_heads, spec.head_dim)
        for projection in (spec.query, spec.key, spec.value)
    )
    cos = sin = None
    if layer.rotary is not None:
        cos, sin = layer.rotary(torch.arange(S, device=x.device), S)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
    query, key, value = (t.view(S, P, spec.n_heads, -1) for t in (query, key, value))
    mask = window_mask(S, spec.window, x.device)
    # [S, P, heads, D] -> [P, heads, S, D] and back
    q, k, v = (t.permute(1, 2, 0, 3) for t in (query, key, value))
    heads = F.scaled_dot_product_attention(q, k, v, mask, scale=spec.scale).permute(2, 0, 1, 3)
    attended = x + spec.output.affine(heads.reshape(S * P, -1)).view(S, P, H)

    middle = _norm(layer.attention_norm, attended) if layer.post_norm else attended
    m = middle if layer.post_norm else layer.mlp_norm(middle)
    m = m.view(S * P, H)
    up = mlp.up.affine(m)
    gate = None if mlp.gate is None else mlp.gate.affine(m)
    hidden = activate(up if gate is None else gate, mlp.activation)
    hidden = hidden if gate is None else hidden.mul_(up)
    out = middle + mlp.down.affine(hidden).view(S, P, H)
    base = LayerTrace(
        attention_norm_in=attended if layer.post_norm else x,
        query=query,
        key=key,
        value=value,
        mlp_norm_in=out if layer.post_norm else middle,
        gate=None if gate is None else gate.view(S, P, -1),
        up=up.view(S, P, -1),
        mask=mask,
        cos=cos,
        sin=sin,
    )
    return layer.mlp_norm(out) if layer.post_norm else out, base


def _norm(norm: Norm | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)


def window_mask(S: int, window: int | None, device: torch.device) -> Tensor | None:
    """Who sees whom [S, S] at distances below ``window``; None where everybody sees everybody."""
    if window is None or window >= S:
        return None
    position = torch.arange(S, device=device)
    return (position[:, None] - position[None, :]).abs() < window
