"""What the engine hands back: arrays with their statistics, tables and files."""

from negkernel.results.directions import DirectionGradients
from negkernel.results.gradients import Gradients
from negkernel.results.interventions import Interventions
from negkernel.results.neg_map import NegMap
from negkernel.results.patches import Patches
from negkernel.results.sweep import Sweep

__all__ = ["DirectionGradients", "Gradients", "Interventions", "NegMap", "Patches", "Sweep"]
