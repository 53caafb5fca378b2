"""Pictures of sweeps and gradients, sized for a column of a paper.

Every function draws on axes that it is given, or on new ones, and returns them. Colours are those
of Okabe and Ito, which colour-blind readers tell apart; lines differ in their markers as well.
Slopes are in probability per unit of activation.
"""

from negkernel.extras import need

need("matplotlib", "plots", "drawing")

from neurgrad.plots.activation import activation_against_neg
from neurgrad.plots.curves import sweep_curves
from neurgrad.plots.draw import draw_all
from neurgrad.plots.histogram import neg_histogram
from neurgrad.plots.layers import layer_profile
from neurgrad.plots.style import PALETTE, column

__all__ = [
    "PALETTE",
    "activation_against_neg",
    "column",
    "draw_all",
    "layer_profile",
    "neg_histogram",
    "sweep_curves",
]
