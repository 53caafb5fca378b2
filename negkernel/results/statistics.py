"""The two numbers that summarise a curve of probability against shift: its slope and its linearity.

Everything is summed in float64, over the last axis, whatever the precision of the curve: the
probability shifts of a large model are around 1e-6 and their squares would not survive float32.
"""

import numpy as np


def prob_shift(base_logprob: np.ndarray, logprob_shift: np.ndarray) -> np.ndarray:
    """Change of probability that belongs to a change of log-probability, without cancellation.

    ``p(shifted) - p`` loses every digit that the two have in common. Here the larger of the two is
    multiplied by the relative drop to the smaller, ``-expm1(-|d|)``. The result is as accurate as
    `logprob_shift` itself and, unlike ``p * expm1(d)``, never ``0 * inf`` when a target that the
    model had all but excluded comes back.

    Parameters
    ----------
    base_logprob : ndarray
        Log-probability without the shift, in nats; broadcasts against `logprob_shift`.
    logprob_shift : ndarray
        Change ``d`` of the log-probability, in nats.

    Returns
    -------
    ndarray of float64
    """
    change = np.asarray(logprob_shift, dtype=np.float64)
    larger = np.exp(np.asarray(base_logprob, dtype=np.float64) + np.maximum(change, 0.0))
    return larger * np.copysign(np.expm1(-np.abs(change)), change)


def neg(shifts: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Neuron empirical gradient: slope of the least-squares line through the origin.

    ``sum(shift * curve) / sum(shift ** 2)``, the zero shift left out.

    Parameters
    ----------
    shifts : ndarray [J]
        Shifts, in units of the activation.
    curve : ndarray [..., J]
        Change of the output at each shift, usually of the target's probability.

    Returns
    -------
    ndarray of float64 [...]
        Change of the output per unit of activation.

    Raises
    ------
    ValueError
        If no shift differs from zero.
    """
    x, y = _without_zero_shift(shifts, curve)
    # Squares of the raw shifts would under- or overflow long before the slope does.
    unit = np.abs(x).max()
    x = x / unit
    return (y @ x) / (x @ x) / unit


def pearson(shifts: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Pearson correlation of shift and curve, the zero shift left out.

    A curve that is exactly constant, and a single shift, have correlation 0.

    Parameters
    ----------
    shifts : ndarray [J]
        Shifts, in units of the activation.
    curve : ndarray [..., J]
        Change of the output at each shift.

    Returns
    -------
    ndarray of float64 [...]
        Values in [-1, 1].

    Raises
    ------
    ValueError
        If no shift differs from zero.
    """
    x, y = (_standardised(values) for values in _without_zero_shift(shifts, curve))
    squares = (x @ x) * np.einsum("...j,...j->...", y, y)
    r = (y @ x) / np.sqrt(np.where(squares == 0, 1.0, squares))
    return np.clip(r, -1.0, 1.0)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Move and scale the last axis to mean 0 and range at most 1; exactly 0 where it is constant.

    The first value is subtracted before the mean is: a mean is rounded, and its rounding would turn
    a constant curve into noise with a correlation of its own.
    """
    distance = values - values[..., :1]
    largest = np.abs(distance).max(axis=-1, keepdims=True)
    distance /= np.where(largest == 0, 1.0, largest)
    return distance - distance.mean(axis=-1, keepdims=True)


def _without_zero_shift(shifts: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shifts and curve in float64 where the shift differs from zero."""
    x = np.asarray(shifts, dtype=np.float64)
    moved = x != 0
    if not moved.any():
        raise ValueError(
            f"a slope needs at least one shift other than zero, got shifts {x.tolist()}; "
            "sweep over shifts such as numpy.linspace(-2, 2, 41)"
        )
    return x[moved], np.asarray(curve, dtype=np.float64)[..., moved]
