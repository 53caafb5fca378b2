"""Scores of every neuron for a target, side by side: ``f(engine, prompts, targets, **options)``.

==============================  ====================================================  ============
function                        score of neuron n                                     unit
==============================  ====================================================  ============
:func:`cg`                      dp/da                                                 prob / act
:func:`neurgrad`                dp/da with the sign of a                              prob / act
:func:`integrated_gradients`    a times the mean of dp/da on the way from 0 to a      probability
:func:`lpi`                     what its own output adds to log p at its layer        nats
:func:`activation_gradient`     a times dp/da                                         probability
==============================  ====================================================  ============

All return a CPU array [P, L, I], or [P, K, L, I] for K targets a prompt.
"""

from neurgrad.attribution.gradients import activation_gradient, cg, neurgrad
from neurgrad.attribution.integrated import integrated_gradients
from neurgrad.attribution.probability_increase import lpi

__all__ = ["activation_gradient", "cg", "integrated_gradients", "lpi", "neurgrad"]
