"""Bound how far an interpolated curve may be off: what its last nodes showed, and rounding.

The nodes that a level adds were predicted by the level before, so the difference of the two curves
is an error that was seen: the coarser one's. The finer one's is smaller, mostly by orders of
magnitude, but any rule that says by how much (geometric, algebraic) is off by 100 where a curve
bends in one place, as log p does where another token takes over, or a gate where it opens.
``CHECK`` of the difference is the share that covered 99.9 % of curves on trained and
random models, at every site and range; ``python -m bench spectral`` measures it.
"""

from __future__ import annotations

import numpy as np
import torch

from negkernel.families import Precision

CHECK = 0.75

# What two ends leave out of NEG is taken for no less than this share of what they change in it.
AHEAD = 0.05

# No error of NEG is stated finer than this share of what was wanted: a term, or a change, that is
# small by chance says nothing of the next.
FINEST = 0.5

# Rounding of one row in units of (how far logits moved, in this curve and in a typical one) * eps.
# Measured against float64: 99 % of rows are below on trained models, 95 % on sharp random ones.
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


def first_difference(
    values: np.ndarray, slope: np.ndarray, radius: float, height: np.ndarray
) -> np.ndarray:
    """What stands for a difference where both ends of a symmetric range follow on the slope.

    The two ends add a quadratic and a cubic part, c2 and c3; what comes next in the series is of
    the size of ``c2^2 / height``. c3 also holds what the slope is off by.

    Parameters
    ----------
    values : ndarray [..., 2]
        The curve at both ends.
    slope, height : ndarray [...]
        Slope at 0, signed as ``values[..., 1]`` lies at ``radius``; largest of the values.
    """
    c2 = np.abs(values.sum(-1)) / 2
    c3 = np.abs((values[..., 1] - values[..., 0]) / 2 - slope * radius)
    return c3 + c2**2 / height


def ahead(values: np.ndarray, slope: np.ndarray, radius: float) -> np.ndarray:
    """What both ends of a symmetric range and the slope leave out of NEG if terms go on decaying.

    The ends add c2 and c3, as in :func:`first_difference`. By the ratio at which the terms decay,
    the next odd one is c3 times its square, and ``x^3 (x^2 - 1)`` moves the slope of the
    least-squares line by 0.17; half of that with the ratio itself covers a thousand neurons of the
    trained model where it matters at a tolerance of 1e-3. A share of c2 stands in for a c3 that is
    small by chance.

    Returns
    -------
    ndarray [...]
        In nats per radius.
    """
    c2 = np.abs(values.sum(-1)) / 2
    c3 = np.abs((values[..., 1] - values[..., 0]) / 2 - slope * radius)
    height = np.abs(values).max(-1)
    height = np.where(height > 0, height, 1.0)
    ratio = np.maximum(np.sqrt(c3 / height), c2 / height)
    return 0.08 * (c3 + 0.1 * c2**2 / height) * ratio


def finest(wanted: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Truncation of NEG that is stated at least, where ``wanted`` is to hold its rounding too."""
    return np.clip(wanted - rounding, 0.0, FINEST * wanted)


def rounding(
    height: np.ndarray,
    base_logprob: np.ndarray,
    eps: float,
    noise: float,
    typical: np.ndarray | None = None,
) -> np.ndarray:
    """Rounding error of the curves [n, K] that are measured together.

    The log-prob is a difference of a logit's change and a normaliser's. Where the two cancel, for
    a target with p near 1 or by chance, it keeps the rounding of the larger ones, whose size shows
    in the curve's own height and in the ``typical`` one, by default their median [1, K]. Methods
    that carry states instead of differences add their ``noise``.
    """
    left = np.maximum(-np.expm1(base_logprob.astype(np.float64)), eps)
    typical = np.median(height, axis=0, keepdims=True) if typical is None else typical
    return ROUNDING * eps * (_logits(height, left) + _logits(typical, left)) + noise


def _logits(height: np.ndarray, left: np.ndarray) -> np.ndarray:
    """How far a logit moves to change log p by ``height`` where 1 - p is ``left``."""
    return height + np.log1p(-np.expm1(-height) * (1 / left - 1))  # log(1 + (e^height - 1) / left)


def neg_and_change(
    x: np.ndarray, curve: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """NEG of ``curve`` [..., J] at shifts ``x``, and by how much that of ``before`` differs.

    Both in units of the largest probability over ``sum(x^2)``, so that an error e of log p moves
    the first by no more than ``e sum|x|``.
    """
    peak = np.maximum(np.maximum(curve.max(-1), before.max(-1)), 0.0)[..., None]
    neg = (np.exp(curve - peak) - np.exp(-peak)) @ x
    return np.abs(neg), np.abs(neg - (np.exp(before - peak) - np.exp(-peak)) @ x)
