"""Benchmarks: ``python -m bench sweep|gradients|fidelity``, from the root of the checkout."""
