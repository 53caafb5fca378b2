"""Neurons, shifts and interventions as users give them, checked against the model's sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from negkernel.arguments import shown
from negkernel.request.directions import Directions
from negkernel.request.numbers import NeuronIndexError as NeuronIndexError
from negkernel.request.numbers import check_fits, integers, numbers
from negkernel.request.rows import Rows
from negkernel.request.signs import Signs, check_signs
from negkernel.sites import check_axis


def every_neuron(widths: Sequence[int] | np.ndarray) -> np.ndarray:
    """(layer, index) of each neuron of layers of these widths, int64 [sum(widths), 2]."""
    layer = np.repeat(np.arange(len(widths)), widths)
    first = np.repeat(np.cumsum(widths) - widths, widths)
    return np.stack([layer, np.arange(len(layer)) - first], axis=1)


def check_neurons(
    neurons: Any, n_prompts: int, widths: np.ndarray, noun: str = "neuron"
) -> np.ndarray:
    """Return ``neurons`` as an int64 array [N, 2] or [P, N, 2] of existing (layer, index) pairs.

    Raises
    ------
    ValueError
        Wrong shape, no neurons, or not integers.
    NeuronIndexError
        A layer or index out of range; negative ones are refused, not wrapped.
    """
    array = integers(neurons, "neurons")
    per_prompt = array.ndim == 3 and array.shape[0] == n_prompts
    if array.size == 0:
        raise ValueError("no neurons given; expected an array [N, 2] of (layer, index), N >= 1")
    if array.shape[-1:] != (2,) or not (array.ndim == 2 or per_prompt):
        raise ValueError(
            f"neurons has shape {list(array.shape)}; expected [N, 2] of (layer, index), or "
            f"[{n_prompts}, N, 2] with a list for each prompt"
        )
    check_range(array.reshape(-1, 2), widths, noun)
    return array


def check_shifts(shifts: Any, dtype: torch.dtype, name: str = "shifts") -> np.ndarray:
    """Return ``shifts`` as a float array [J] of finite numbers in the result's dtype.

    Raises
    ------
    ValueError
        No shifts, not numbers, NaN or infinite, larger than `dtype` can compute with, or not
        one-dimensional; the message calls them ``name``.
    """
    array = numbers(shifts, name)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(
            f"{name} has shape {list(array.shape)}; expected a list of at least one number"
        )
    check_fits(array, name, dtype)
    return array.astype(np.float64 if dtype == torch.float64 else np.float32)


@dataclass(frozen=True, eq=False)
class Intervention:
    """Shifts of several neurons applied in one forward pass.

    Attributes
    ----------
    neurons : array [M, 2] of int, or Directions
        (layer, index) pairs, 0-based, in any order, each listed once; or directions, whose pairs
        then stand here.
    amounts : array [M] of float
        How far each neuron is shifted, along ``axis``.
    axis : str
        "magnitude", "signed", "scale" or "value" (see :mod:`negkernel.sites`).
    site : str
        "paper", "up", "gate", "post", "pre" or "head"; that of directions is their ``at``.
    signs : str
        Which sign a shift along the magnitude axis follows. "running": that of the activation as
        the shifts of lower layers left it, as a hook would (the paper's reference). "baseline":
        that of the activation without any, which is what a prediction from gradients or sweeps of
        single neurons assumes. They differ where a small activation is flipped; a warning then
        says how often. The other axes follow no sign ("scale" multiplies the running activation)
        and take "running" only.

    Raises
    ------
    ValueError
        No neurons, sizes that disagree, a neuron listed twice, or an unknown axis or rule of signs.
    """

    neurons: np.ndarray
    amounts: np.ndarray
    axis: str = "magnitude"
    site: str = "paper"
    signs: str = "running"
    directions: Directions | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.neurons, Directions):
            object.__setattr__(self, "directions", self.neurons)
            object.__setattr__(self, "neurons", self.neurons.pairs)
        neurons = integers(self.neurons, "neurons")
        amounts = np.atleast_1d(numbers(self.amounts, "amounts"))
        if neurons.size == 0 or neurons.ndim != 2 or neurons.shape[1] != 2:
            raise ValueError(
                f"an intervention's neurons have shape {list(neurons.shape)}; expected [M, 2] of "
                "(layer, index), M >= 1"
            )
        if amounts.shape != (len(neurons),):
            raise ValueError(
                f"an intervention has {len(neurons)} neurons but amounts of shape "
                f"{list(amounts.shape)}; expected [{len(neurons)}]"
            )
        unique, counts = np.unique(neurons, axis=0, return_counts=True)
        if (counts > 1).any():
            layer, index = unique[counts > 1][0]
            raise ValueError(
                f"neuron ({layer}, {index}) is listed twice in one intervention; add its amounts "
                "up or use two interventions"
            )
        axis = check_axis(self.axis)
        if self.directions is not None:
            if self.site != "paper":
                raise ValueError(
                    f"an intervention along directions has site {shown(self.site)}; directions say "
                    "at= where they are: expected no site"
                )
            axis = "signed" if axis == "magnitude" else axis
            object.__setattr__(self, "site", self.directions.at)
        object.__setattr__(self, "axis", axis)
        check_signs(self.signs, self.axis)
        object.__setattr__(self, "neurons", neurons)
        object.__setattr__(self, "amounts", amounts)

    def __len__(self) -> int:
        return len(self.neurons)

    @property
    def flippable(self) -> bool:
        """Whether one of its shifts could flip the sign that another one follows."""
        return self.axis == "magnitude" and len(np.unique(self.neurons[:, 0])) > 1


def intervention_rows(
    interventions: Sequence[Sequence[Intervention]], dtype: torch.dtype, signs: Signs | None = None
) -> Rows:
    """Rows for P lists of R interventions, in the order of the result [P, R]."""
    flat = [one for per_prompt in interventions for one in per_prompt]
    neurons = torch.from_numpy(np.concatenate([one.neurons for one in flat]))
    amounts = np.concatenate([one.amounts for one in flat])
    check_fits(amounts, "amounts", dtype)
    counts = torch.tensor([len(one) for one in flat])
    prompt = [p for p, per_prompt in enumerate(interventions) for _ in per_prompt]
    return Rows(
        prompt=torch.tensor(prompt),
        start=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        layer=neurons[:, 0],
        neuron=neurons[:, 1],
        amount=torch.from_numpy(amounts).to(dtype),
        signs=signs,
    )


def check_interventions(interventions: Any, n_prompts: int) -> list[list[Intervention]]:
    """Return P lists of R interventions, of any neurons; sites and axes may differ."""
    if not isinstance(interventions, list | tuple):
        raise ValueError(
            f"interventions is {type(interventions).__name__}; expected a list of Intervention, or "
            "a list of such lists per prompt"
        )
    given = list(interventions)
    if not given:
        raise ValueError("no interventions given; expected at least one")
    if all(isinstance(one, Intervention) for one in given):
        per_prompt = [given] * n_prompts
    else:
        per_prompt = [list(row) if isinstance(row, list | tuple) else [row] for row in given]
        if len(per_prompt) != n_prompts:
            raise ValueError(
                f"got {len(per_prompt)} lists of interventions for {n_prompts} prompts; expected "
                "one list for all prompts, or one list per prompt"
            )
    for row in per_prompt:
        for one in row:
            if not isinstance(one, Intervention):
                raise ValueError(
                    f"{type(one).__name__} is not a negkernel.Intervention; expected a list of "
                    "them, or a list of such lists per prompt"
                )
    counts = sorted({len(row) for row in per_prompt})
    if counts[0] == 0 or len(counts) > 1:
        raise ValueError(
            f"prompts have {counts} interventions; expected the same number R >= 1 for each"
        )
    return per_prompt


def check_range(pairs: np.ndarray, widths: np.ndarray, noun: str = "neuron") -> None:
    """Refuse (layer, index) pairs [N, 2] that layers of these widths do not have.

    Raises
    ------
    NeuronIndexError
    """
    layer, index = pairs.T
    for layer_wrong in ((layer < 0) | (layer >= len(widths))).nonzero()[0][:1]:
        raise NeuronIndexError(
            f"{noun} {tuple(pairs[layer_wrong].tolist())}: layer {layer[layer_wrong]} is out of "
            f"range; expected 0 <= layer < {len(widths)}"
        )
    for wrong in ((index < 0) | (index >= widths[layer])).nonzero()[0][:1]:
        width, uneven = widths[layer[wrong]], len(set(widths.tolist())) > 1
        raise NeuronIndexError(
            f"{noun} {tuple(pairs[wrong].tolist())}: {noun} index {index[wrong]} is out of "
            f"range; expected 0 <= {noun} index < {width}"
            + (f" in layer {layer[wrong]}" if uneven else "")
        )
