"""How far an interpolated curve may be off: truncation, extrapolated, and rounding.

A polynomial of order n through a smooth curve of height A errs by about ``A r^n`` with some
r < 1. Two successive levels of orders m < n differ by the error of the coarser, so the finer one's
is ``A (difference / A)^(n / m)``. The rule was held against 101-point grids in float64 on trained
and random models; ``SAFETY`` brings the few curves that flatter themselves into the promise that
the true error is at most three times the estimate.
"""

from __future__ import annotations

import numpy as np
import torch

from negkernel.families import Precision

SAFETY = 8.0

# Rounding of one row in units of (height of the curve + the typical height) * eps / (1 - p).
# Measured against float64: the noise of 99 % of rows is below three times this.
ROUNDING = 32.0


# Rounding of log p in a model's own forward, in units of the eps of its dtype.
STATE_ROUNDING = 16.0

# Half-precision operands round the difference that enters each matrix product; independent errors
# average out over its width.
OPERAND_SHARE = 1 / 64


def row_eps(precision: Precision) -> float:
    """Relative rounding of one row."""
    eps = torch.finfo(precision.state).eps
    if precision.operand != precision.state:
        eps += OPERAND_SHARE * torch.finfo(precision.operand).eps
    return eps


def first_truncation(
    values: np.ndarray, slope: np.ndarray, radius: float, height: np.ndarray
) -> np.ndarray:
    """Error of the cubic through both ends and the slope: the size of the quartic it lacks.

    Parameters
    ----------
    values : ndarray [..., 2]
        The curve at +radius and -radius.
    slope, height : ndarray [...]

    Returns
    -------
    ndarray [...]
        With quadratic and cubic parts c2 and c3, the next term is taken as c3 times the decay
        seen so far, or c2's if that is slower.
    """
    c2 = np.abs(values.sum(-1)) / 2
    c3 = np.abs((values[..., 0] - values[..., 1]) / 2 - slope * radius)
    return SAFETY * (c3 * np.maximum(np.sqrt(c3 / height), c2 / height) + c2**3 / height**2)


def truncation(difference: np.ndarray, height: np.ndarray, ratio: float) -> np.ndarray:
    """Error of a level that differs by ``difference`` from one of ``1 / ratio`` times its order."""
    return SAFETY * height * np.minimum(difference / height, 1.0) ** ratio


def rounding(height: np.ndarray, base_logprob: np.ndarray, eps: float, noise: float) -> np.ndarray:
    """Rounding error of the curves [n, K] that are measured together.

    The log-prob is a difference of a logit's change and a normaliser's. Where the two cancel, for
    a target with p near 1 or by chance, it keeps the rounding of the larger ones, whose size shows
    in the typical curve. Methods that carry states instead of differences add their ``noise``.
    """
    typical = np.median(height, axis=0, keepdims=True)
    left = np.maximum(-np.expm1(base_logprob.astype(np.float64)), eps)
    return ROUNDING * eps * (height + typical) / left + noise


def slope_tolerance(shifts: np.ndarray, curve: np.ndarray, tol: float) -> np.ndarray:
    """Largest error of a curve [..., J] that moves its NEG by no more than ``tol`` of itself.

    NEG is ``sum(x dp) / sum(x^2)``; an error e of log p moves it by at most
    ``e max(p) sum|x| / sum(x^2)``. Where the curve is even in the shift, NEG is what is left after
    cancellation and asks for more than the curve does.
    """
    peak = np.maximum(curve.max(-1), 0.0)
    dp = np.exp(curve - peak[..., None]) - np.exp(-peak)[..., None]  # in units of the largest p
    x = shifts.astype(np.float64)
    return tol * np.abs(dp @ x) / np.abs(x).sum()
