"""Check and measure everything that needs a GPU: ``python -m bench.gpu``, or ``make gpu``.

It runs from a bare checkout with the machine's own PyTorch, transformers and Triton: no
installation, no network, no environment variable. Facts of the machine come first; then each
kernel is checked in a process of its own with a time limit, and one that fails is replaced by its
reference while the rest goes on; then whole sweeps, gradients and maps at the shapes of real
models. Each step's lines are written before the next one begins.
"""
