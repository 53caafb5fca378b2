"""Choose neurons by their scores, as the paper's public code does: sampled, top, cumulative."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from negkernel.arguments import check_integer, check_kind, check_number


def sampled(
    scores: Tensor, num_neurons: int, threshold: float = 0, seed: int = 42
) -> tuple[Tensor, Tensor]:
    """Draw neurons of each prompt among those whose |score| is above ``threshold``.

    The seed is set anew for each prompt.

    Returns
    -------
    scores [B, n], neurons [B, n, 2]

    Raises
    ------
    ValueError
        A prompt has fewer of them.
    """
    _check_scores(scores, 3)
    check_integer("num_neurons", num_neurons, 1)
    check_number("threshold", threshold, "0 or a positive number", above=-5e-324)
    drawn = []
    for p, own in enumerate(scores):
        candidates = (own.abs() > threshold).nonzero().tolist()
        if len(candidates) < num_neurons:
            raise ValueError(
                f"prompt {p} has {len(candidates)} neurons with |score| > {threshold}; expected at "
                f"least num_neurons={num_neurons}"
            )
        drawn.append(random.Random(seed).sample(candidates, num_neurons))
    neurons = torch.tensor(drawn)
    return _at(scores, neurons), neurons


def top(
    scores: Tensor, topk: int = 100, abs_val: bool = False, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Neurons of each prompt with the largest scores (|scores| with ``abs_val``), or the smallest.

    Returns
    -------
    scores [B, k], neurons [B, k, 2]
    """
    _check_scores(scores, 3)
    if abs_val and reverse:
        raise ValueError("abs_val and reverse exclude each other; expected one of them")
    width = scores.shape[2]
    check_integer("topk", topk, 1, scores[0].numel())
    ranked = scores.abs() if abs_val else scores
    flat = ranked.flatten(1).topk(topk, largest=not reverse).indices
    neurons = torch.stack([flat // width, flat % width], dim=-1)
    return _at(scores, neurons), neurons.cpu()


def cumulative(
    scores: Tensor, cumulative_threshold: float, return_value_indices: bool = False
) -> tuple[Tensor, list[tuple[int, int]]] | tuple[list[list[int]], list[list[int]]]:
    """Fewest neurons of one prompt's scores [L, N] that hold a share of the sum of |score|.

    Returns
    -------
    scores [n], neurons
        With ``return_value_indices``; else neurons whose score is not negative, and the others.
    """
    _check_scores(scores, 2)
    check_number("cumulative_threshold", cumulative_threshold)
    values, order = scores.cpu().flatten().abs().sort(descending=True)
    total = scores.abs().sum().item()
    count = int(torch.searchsorted(values.cumsum(0), total * cumulative_threshold, right=True))
    chosen = order[:count]
    neurons = torch.stack([chosen // scores.shape[1], chosen % scores.shape[1]], dim=1)
    own = scores.cpu()[neurons[:, 0], neurons[:, 1]]
    if return_value_indices:
        return own, [(layer, index) for layer, index in neurons.tolist()]
    return neurons[own >= 0].tolist(), neurons[~(own >= 0)].tolist()


def by_polarity(values: Tensor, neurons: Tensor) -> tuple[list[list[int]], list[list[int]]]:
    """Split neurons [n, 2] into those with a positive value and the others."""
    check_kind("neuron_values", values, Tensor)
    check_kind("neuron_indices", neurons, Tensor)
    if values.dim() != 1 or neurons.shape != (len(values), 2):
        raise ValueError(
            f"values and neurons have shapes {list(values.shape)} and {list(neurons.shape)}; "
            "expected [n] and [n, 2]"
        )
    positive = values > 0
    return neurons[positive].tolist(), neurons[~positive].tolist()


def _at(scores: Tensor, neurons: Tensor) -> Tensor:
    prompt = torch.arange(len(scores))[:, None]
    return scores[prompt, neurons[..., 0], neurons[..., 1]].cpu()


def _check_scores(scores: Tensor, axes: int) -> None:
    check_kind("scores", scores, Tensor)
    if scores.dim() != axes:
        expected = "[L, N], of one prompt" if axes == 2 else "[B, L, N]"
        raise ValueError(f"scores have shape {list(scores.shape)}; expected {expected}")
