"""A spectral sweep: the curves of all prompts and neurons of a request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from negkernel.arguments import check_choice, check_number
from negkernel.methods.base import Opened
from negkernel.spectral.opened import curves


@dataclass(frozen=True)
class Measured:
    """Watched log-probs [P, 2 K], change [P, K, N, J], error [P, K, N], activation [P, N]."""

    watched: np.ndarray
    change: np.ndarray
    error: np.ndarray
    activation: np.ndarray
    rows: int


def measure(
    opened: Iterable[Opened],
    neurons: np.ndarray,
    shifts: np.ndarray,
    *,
    tol: float,
    eps: float,
) -> Measured:
    """Curves of ``neurons`` [P, N, 2] at ``shifts`` [J], prompt group by prompt group."""
    parts = []
    for group in opened:
        chosen = neurons[group.first : group.last]
        found = curves(group, chosen, shifts, tol=tol, eps=eps)
        P, N, _ = chosen.shape
        base = group.base_logprob.numpy()
        prompt = np.arange(P)[:, None]
        # [p * N, K, J] -> [p, K, N, J]
        change = found.values.reshape(P, N, *found.values.shape[1:]).swapaxes(1, 2)
        parts.append(
            Measured(
                watched=base,
                change=change.astype(base.dtype),
                error=found.error.reshape(P, N, -1).swapaxes(1, 2).astype(base.dtype),
                activation=group.activation.numpy()[prompt, chosen[..., 0], chosen[..., 1]],
                rows=int(found.rows.sum()),
            )
        )
    return Measured(
        watched=np.concatenate([part.watched for part in parts]),
        change=np.concatenate([part.change for part in parts]),
        error=np.concatenate([part.error for part in parts]),
        activation=np.concatenate([part.activation for part in parts]),
        rows=sum(part.rows for part in parts),
    )


def check_resolution(resolution: str) -> str:
    """Return ``resolution`` if there is such a one; raise ValueError otherwise."""
    return check_choice("resolution", resolution, ("grid", "spectral"))


def check_tol(tol: float) -> float:
    """Return ``tol`` if it is a relative tolerance.

    Raises
    ------
    ValueError
        Not between 0 and 1.
    """
    expected = "a relative tolerance between 0 and 1, as 1e-3"
    return check_number("tol", tol, expected, above=0, below=1)
