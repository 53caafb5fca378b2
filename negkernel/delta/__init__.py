"""Carry differences instead of states: the method "delta", causal and masked."""
