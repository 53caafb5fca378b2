"""Gradient features of labelled prompts, reduced to what the skill-neuron probes read."""

from neurgrad.features.packed import OrderStore, PackedScores, Ties

__all__ = ["OrderStore", "PackedScores", "Ties"]
