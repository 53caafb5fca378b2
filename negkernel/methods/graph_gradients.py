"""Gradients through the model's own graph: the oracle, and the way for unknown architectures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from negkernel import hooks
from negkernel.borrow import borrowed
from negkernel.families.hook_sites import FeedForward
from negkernel.methods.full import probed_logprob
from negkernel.methods.readout_vjp import cotangent
from negkernel.neuron_values import side_by_side


def gradients(
    model: Any,
    feed_forwards: Sequence[FeedForward],
    tokens: Sequence[Sequence[int]],
    positions: Sequence[int],
    targets: Tensor,
    *,
    site: str,
    log: bool = False,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One forward with a graph and K backwards per prompt.

    The gradient is taken in a zero vector added to the neurons at the probed token, so neither
    the parameters' ``requires_grad`` nor their ``grad`` are touched.

    Parameters
    ----------
    positions : list of int
        Probed position of each prompt.
    targets : Tensor [P, K] int64
    log : bool
        Gradients of log p(target) instead of p(target).

    Yields
    ------
    logprob [K], activation [L, I], gradient [K, L, I]
        For each prompt in turn; NaN where a layer has fewer than I neurons.

    Raises
    ------
    NotImplementedError
        The model's quantized layers have no backward on this device.
    """
    sites = [one.site(site) for one in feed_forwards]
    with borrowed(model) as state:
        for ids, position, target in zip(tokens, positions, targets, strict=True):
            state.restore()
            probes: dict[int, Tensor] = {}
            seen: dict[int, Tensor] = {}
            edits = {layer: _probe(layer, position, probes, seen) for layer in range(len(sites))}
            with torch.enable_grad(), hooks.edited(sites, edits), _quantized_named(model):
                logprob = probed_logprob(model, torch.tensor([list(ids)]), position)
                rows = [
                    _slopes(logprob, token, probes, log)
                    for token in target.to(logprob.device).split(1)
                ]
            yield (
                logprob[0].detach().cpu()[target],
                _aligned(seen, len(sites), logprob),
                torch.stack([_aligned(by_layer, len(sites), logprob) for by_layer in rows]),
            )


def _slopes(
    logprob: Tensor, token: Tensor, probes: dict[int, Tensor], log: bool
) -> dict[int, Tensor]:
    """Gradient of one target [1] in each layer's probe."""
    start, factor = cotangent(logprob, token, log=log)
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
    return {i: g * factor[0].to(g.device) for i, g in zip(layers, found, strict=True)}


def _aligned(by_layer: dict[int, Tensor], n_layers: int, like: Tensor) -> Tensor:
    """Values [L, I] of all layers, on the CPU in the dtype of ``like``."""
    nothing = like.new_empty(0)
    return side_by_side([by_layer.get(i, nothing).to(like.dtype).cpu() for i in range(n_layers)])


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
    layer: int, position: int, probes: dict[int, Tensor], seen: dict[int, Tensor]
) -> hooks.Edit:
    def edit(x: Tensor) -> Tensor:
        probe = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device, requires_grad=True)
        probes[layer], seen[layer] = probe, x[position].detach().clone()
        out = x.clone()
        out[position] = x[position] + probe
        return out

    return edit
