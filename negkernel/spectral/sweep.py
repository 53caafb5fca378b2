"""A spectral sweep: the curves of all prompts and neurons of a request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from negkernel.arguments import check_choice, check_number
from negkernel.spectral.ground import Ground


@dataclass(frozen=True)
class Measured:
    """What a sweep needs: base [P, K], change [P, K, N, J], error [P, K, N], activation [P, N]."""

    base: np.ndarray
    change: np.ndarray
    error: np.ndarray
    activation: np.ndarray
    rows: int


def measure(
    grounds: Iterable[Ground],
    neurons: np.ndarray,
    shifts: np.ndarray,
    *,
    axis: str,
    tol: float,
    eps: float,
) -> Measured:
    """Curves of ``neurons`` [P, N, 2] at ``shifts`` [J], prompt group by prompt group."""
    parts = []
    for ground in grounds:
        chosen = neurons[ground.first : ground.last]
        curves = ground.curves(chosen, shifts, axis=axis, tol=tol, eps=eps)
        P, N, _ = chosen.shape
        dtype = ground.base_logprob.dtype
        prompt = np.arange(P)[:, None]
        # [p * N, K, J] -> [p, K, N, J]
        change = curves.values.reshape(P, N, *curves.values.shape[1:]).swapaxes(1, 2)
        parts.append(
            Measured(
                base=ground.base_logprob,
                change=change.astype(dtype),
                error=curves.error.reshape(P, N, -1).swapaxes(1, 2).astype(dtype),
                activation=ground.activation[prompt, chosen[..., 0], chosen[..., 1]],
                rows=int(curves.rows.sum()),
            )
        )
    return Measured(
        base=np.concatenate([part.base for part in parts]),
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
