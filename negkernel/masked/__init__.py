"""Masked language models: the difference form where every position may see the shifted one.

A shift acts at the mask token. Layers up to the neuron's are the base computation; into the next
layer only the probed position carries a difference, above it all S positions do, and of the last
layer only the probed position is wanted. The parts mirror the causal engine's: :mod:`.parts`
describes an encoder, :mod:`.families` knows architectures, :mod:`.trace` runs the base,
:mod:`.propagate` the differences, :mod:`.backward` the gradients.
"""

from negkernel.masked.delta import MaskedDelta
from negkernel.masked.families import describe, registered

__all__ = ["MaskedDelta", "describe", "registered"]
