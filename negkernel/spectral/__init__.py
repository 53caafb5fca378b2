"""Fewer rows for the same curve: interpolate log p(target) over the shift instead of sampling it.

``log p`` is a smooth function of the shift, 0 at a shift of 0, with a slope there that one
backward gives for every neuron. So a neuron starts with both ends of the range and its slope;
an error estimate from successive levels decides which neurons get more nodes. What the user sees
are values at their own shifts, each curve's error, and the number of rows it took. A map wants the
NEG of thousands of neurons at once: those that are alike tell of each other, and some take no row.
"""

from negkernel.spectral.estimate import row_eps
from negkernel.spectral.neg_map import Measure, joined, paper_grid, pieces
from negkernel.spectral.refine import Accuracy, Curves, refine
from negkernel.spectral.sweep import Measured, check_resolution, check_tol, measure

__all__ = [
    "Accuracy",
    "Curves",
    "Measure",
    "Measured",
    "check_resolution",
    "check_tol",
    "joined",
    "measure",
    "paper_grid",
    "pieces",
    "refine",
    "row_eps",
]
