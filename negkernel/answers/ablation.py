"""Set neurons to a value of their own: 0, or their mean over the prompts of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel.handle import Host
from negkernel.methods.base import Method
from negkernel.request.prompts import Request
from negkernel.sites import Spot


@dataclass(frozen=True)
class Ablation:
    """What a sweep on the axis of this name puts in a neuron's place, in one row each.

    Attributes
    ----------
    shifts : list of float
        What the result says: 1 is all the way to the mean, 0 the value that is put in.
    values : callable
        Activations [P, N] -> what is put in their place [P, N, 1].
    needs_mean : bool
    """

    name: str
    shifts: list[float]
    values: Callable[[Tensor], Tensor]
    needs_mean: bool = False

    def check(self, request: Request, neurons: np.ndarray, shifts: Any, resolution: str) -> None:
        """Refuse what has no meaning for an ablation.

        Raises
        ------
        ValueError
        """
        if shifts is not None:
            raise ValueError(
                f"axis {self.name!r} has no shifts; expected shifts=None, or no shifts"
            )
        if resolution != "grid":
            raise ValueError(f"axis {self.name!r} is one row a neuron; expected resolution='grid'")
        if self.needs_mean and (neurons.ndim == 3 or request.elsewhere is not None):
            raise ValueError(
                f"axis {self.name!r} takes means over prompts at the probed token; expected the "
                "same neurons [N, 2] for every prompt, and no position"
            )


ABLATIONS = {
    one.name: one
    for one in (
        Ablation("zero_ablation", [0.0], lambda a: torch.zeros_like(a)[..., None]),
        Ablation("mean_ablation", [1.0], lambda a: a.mean(0).expand_as(a)[..., None], True),
    )
}


def activations(
    host: Host, runner: Method, request: Request, neurons: Tensor, spot: Spot
) -> Tensor:
    """Activations [P, N] of ``neurons`` [P, N, 2] without a shift, on the CPU."""
    found = []
    for group in runner.open(request, spot):
        layer, index = neurons[group.first : group.last].unbind(-1)
        prompt = torch.arange(group.last - group.first)[:, None]
        found.append(group.activation.cpu()[prompt, layer, index])
    return torch.cat(found).to(host.precision.state)
